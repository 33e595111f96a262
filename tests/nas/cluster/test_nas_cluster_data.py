"""Nodes without the data: named in a line, or sent them."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_namespaces import network
from ray_nodes import ray_cluster

import nas
from reports import RunView

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def settings(data: Path, out: Path) -> list[object]:
    return [
        "search", "--data", f"folder:{data}", "--trials", 3, "--epochs", 1, "--batch-size", 8, "--finalists", "none",
        "--export", "none", "--regime", "scratch", "--set", "training.precision=float32", "--set", "test_fraction=0",
        "--out", out,
    ]  # fmt: skip


@pytest.mark.long
def test_data_that_are_shipped_are_trained_on_where_their_path_is_not(tmp_path: Path, noise_images: Path) -> None:
    """No trial runs on the head: each is trained on shipped data, to the same bit as here from the files."""
    with network() as net, ray_cluster() as cluster:
        cluster.host, prefix = net.machine()
        cluster.head(cpus=0, prefix=prefix)
        address, prefix = net.machine(f"mount -t tmpfs none {noise_images}")
        cluster.worker(cpus=2, host=address, prefix=prefix, FUSION_NAS_CACHE=str(tmp_path / "its own cache"))
        shipped = cluster.run(
            *settings(noise_images, tmp_path / "run"), "--address", cluster.address, "--ship-data", "true"
        )
        assert shipped.returncode == 0, shipped.stderr
        refused = cluster.run(*settings(noise_images, tmp_path / "refused"), "--address", cluster.address)
    view = RunView.load(tmp_path / "run")
    assert {t.result.environment["host"] for t in view.complete} == {"machine-2"}
    here = nas.search(
        data=f"folder:{noise_images}", trials=3, engine="local", finalists="none", export="none", test_fraction=0,
        training={"epochs": 1, "batch_size": 8, "precision": "float32", "regime": "scratch"},
        out=str(tmp_path / "here"),
    )  # fmt: skip

    def scores(run: RunView) -> dict[str, float | None]:
        return {t.result.architecture.key: t.result.loss for t in run.complete if t.result.origin != "proposed"}

    there, local = scores(view), scores(here.view)
    assert there.keys() & local.keys()
    assert all(there[key] == local[key] for key in there.keys() & local.keys())
    assert refused.returncode != 0
    assert "machine-2 lacks the data" in refused.stderr
    assert "--ship-data true" in refused.stderr
    assert "Traceback" not in refused.stderr
