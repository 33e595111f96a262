"""Exported detectors and segmenters trained on: judged by their own figures, exported anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from two_processes import retrained_by_two

from nas.export import ExportError, TrainedNetwork, export_network
from nas.export.verifying import verify
from nas.tools.retraining import retrain
from nas.tools.retraining.retrain import Wishes
from search_spaces import InputSpec, SearchSpace
from trials.data import SceneConfig, load_scenes

DATA = "scenes-mini"


def untrained(head: str, out: Path, **known) -> Path:
    data = load_scenes(SceneConfig(DATA, "semantic" if head == "semantic" else "boxes", image_size=64, train_images=8))
    space = SearchSpace.named(f"resnet8-fpn-{head}", InputSpec(3, 64, len(data.categories)))
    torch.manual_seed(0)
    weights = space.build(space.baseline).state_dict()
    provenance = {"data": {"name": DATA}, **known}
    export_network(
        TrainedNetwork(space, space.baseline, weights, data.categories, data.mean, data.std, provenance),
        out,
        formats=["py"],
    )
    return out


def few(**given) -> Wishes:
    return Wishes(**{"epochs": 1, "train_images": 48, "batch_size": 16, "device": "cpu", "ema": None, **given})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "figure"),
    [("semantic", "miou"), pytest.param("fcos", "ap", marks=pytest.mark.long)],
)
def test_it_is_trained_judged_and_exported_anew(head: str, figure: str, tmp_path: Path) -> None:
    exported = untrained(head, tmp_path / "exported", training={"augment": True, "frozen_trunk": True, "momentum": 0.9})
    before = torch.load(exported / "weights.pt", weights_only=True)
    said: list[str] = []
    report = retrain(exported, tmp_path / "out", few(), announce=said.append)
    assert report is not None
    found = report["figures"][figure]
    assert found["recorded"] == pytest.approx(found["network"], abs=1e-4)
    assert found["model.py"] == pytest.approx(found["network"], abs=1e-3)
    known = json.loads((tmp_path / "out" / "arch.json").read_text())["provenance"]
    assert known["figures"][figure] == known["score"] == found["recorded"]
    assert "correct" not in known
    assert known["training"]["augment"]
    assert any("validation images" in line and f"{known['score']:.4f}" in line for line in said)
    after = torch.load(tmp_path / "out" / "weights.pt", weights_only=True)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.body.conv1.weight" in moved, "what the search froze learns too"
    assert verify(tmp_path / "out")["passed"]
    with pytest.raises(ExportError, match="classifiers alone learn from a teacher"):
        retrain(exported, tmp_path / "taught", few(teacher=exported))


def test_scenes_of_other_categories_are_refused(tmp_path: Path) -> None:
    space = SearchSpace.named("resnet8-fpn-semantic", InputSpec(3, 64, 2))
    weights, half = space.build(space.baseline).state_dict(), (0.5, 0.5, 0.5)
    trained = TrainedNetwork(space, space.baseline, weights, ("a", "b"), half, half, {"data": {"name": DATA}})
    export_network(trained, tmp_path / "other", formats=["py"])
    with pytest.raises(ExportError, match="give the data that it was searched on"):
        retrain(tmp_path / "other", None, few())


@pytest.mark.slow
@pytest.mark.long
def test_two_processes_share_each_batch_of_scenes(tmp_path: Path) -> None:
    exported = untrained("fcos", tmp_path / "exported")
    retrained_by_two(exported, tmp_path / "two", 48)
