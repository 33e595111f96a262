"""`nas cluster check` on clusters of several `ray start` processes: fit ones, and what is wrong with others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_namespaces import network
from ray_nodes import Cluster, ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

SPACE = """
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("small", "basic", (1, 1, 1), (16, 32, 64), "cifar")
"""


@pytest.fixture(scope="module")
def alone() -> Iterator[Cluster]:
    """A cluster of one, as `ray start --head` makes it; with a token."""
    with ray_cluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a-token-of-the-tests-0123456789") as cluster:
        cluster.head()
        yield cluster


def test_one_node_is_a_cluster_too(alone: Cluster) -> None:
    done = alone.run("cluster", "check", "--address", alone.address, "--within", 300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 node: fit to search" in done.stdout
    assert "token" not in done.stdout  # Ray asks for one
    (line,) = [line for line in done.stdout.splitlines() if "head, driver" in line]
    assert "cpu" in line
    assert "1 of " in line


def test_where_nothing_answers_is_said(alone: Cluster) -> None:
    done = alone.run("cluster", "check", "--address", "127.0.0.1:1")
    assert done.returncode == 2
    assert "nas: --address 127.0.0.1:1: nothing answers there (Connection refused): give HOST:PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_what_a_node_lacks_is_named_with_how_to_mend_it(tmp_path: Path, noise_images: Path) -> None:
    data = noise_images
    (tmp_path / "net.py").write_text(SPACE)
    hidden = f"mount -t tmpfs none {data}"
    with network() as net, ray_cluster() as cluster:
        cluster.host, prefix = net.machine()
        cluster.head(prefix=prefix)
        address, prefix = net.machine(hidden)
        cluster.worker(host=address, prefix=prefix, FUSION_NAS_LOCKS="/nowhere", FUSION_NAS_CACHE=str(tmp_path / "c2"))
        asked = [
            "cluster", "check", "--address", cluster.address, "--data", f"folder:{data}", "--space",
            f"{tmp_path}/net.py:SPACE", "--batch-size", 8,
            "--within", 300,
        ]  # fmt: skip
        done = cluster.run(*asked, "--json")
        assert done.returncode == 1, done.stderr
        found = json.loads(done.stdout)
        shown = cluster.run(*asked, "--ship-data", "true")
    assert [one["about"]["host"] for one in found["nodes"]] == ["machine-1", "machine-2"]
    head, worker = found["nodes"]
    assert head["agreement"]["data"] == found["driver"]["data"]
    assert head["agreement"]["code"] == found["driver"]["code"] is not None
    wrong = {(one["node"].split()[0], one["what"].split(":")[0].split("(")[0].strip()) for one in found["troubles"]}
    assert wrong == {
        ("machine-2", "no data"), ("machine-2", "files cannot be locked"), ("all", "Ray asks for no token"),
    }  # fmt: skip
    assert str(data) in worker["agreement"]["data_error"]
    assert abs(worker["clock_offset_s"]) < 1
    assert all("--ship-data" in one["mend"] for one in found["troubles"] if one["what"].startswith("no data"))
    # Shipped, the data need not be there: the locks are what is left.
    assert shown.returncode == 1
    assert "2 nodes: 1 to mend before a search" in shown.stdout
    assert "PROBLEM machine-2" in shown.stdout
    assert "warning all nodes: Ray asks for no token" in shown.stdout
