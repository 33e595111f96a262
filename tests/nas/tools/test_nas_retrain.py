"""An export trained on: from its weights or anew, stopped and gone on with, by a teacher, in two processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from two_processes import retrained_by_two

import nas
from nas.export import ExportError, TrainedNetwork, export_network
from nas.export.hashes import write_hashes
from nas.export.verifying import verify
from nas.session.delivering import deliver
from nas.tools.retraining import loop, retrain
from nas.tools.retraining.processes import Processes
from nas.tools.retraining.retrain import Wishes, target_of
from nas.tools.retraining.source import teacher_of
from nas.tools.retraining.teaching import distillation_by
from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, load_data
from trials.tasks.batches import Draws

DATA = "fashion-mnist-mini"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    architecture = space.architecture({point.name: "se/4" for point in space.points})
    torch.manual_seed(0)
    weights = space.build(architecture).state_dict()
    names = load_data(DataConfig(DATA)).classes
    out = tmp_path_factory.mktemp("retrain") / "exported"
    known = {"data": {"name": DATA}}
    export_network(TrainedNetwork(space, architecture, weights, names, (0.3,), (0.3,), known), out, formats=["py"])
    return out


def few(**given) -> Wishes:
    return Wishes(**{"epochs": 2, "train_images": 256, "peak_lr": 0.05, "device": "cpu", "ema": 0.9, **given})


@pytest.mark.slow
def test_it_learns_and_the_export_is_made_anew(exported, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(exported, copied)
    said: list[str] = []
    report = retrain(copied, None, few(epochs=4, train_images=1024), formats=["py"], announce=said.append)
    assert report is not None
    correct = report["accuracy"]["correct"]
    assert correct["recorded"] == correct["network"] == correct["model.py"]
    assert correct["network"] > 0.3 * report["accuracy"]["images"]  # chance is .1
    known = json.loads((copied / "arch.json").read_text())["provenance"]
    assert known["retrained"] == {"start": "inherited", "teacher": None, "processes": 1}
    assert verify(copied)["passed"]
    assert [path.name for path in tmp_path.iterdir()] == ["copied"]
    assert said[0].startswith("epoch 1 of 4: loss ") or any("epoch 1 of 4" in line for line in said)


def known_to(exported: Path, folder: Path, **known) -> Path:
    """The export with this in its provenance."""
    shutil.copytree(exported, folder)
    path = folder / "arch.json"
    document = json.loads(path.read_text())
    document["provenance"] |= known
    path.write_text(json.dumps(document))
    write_hashes(folder)
    return folder


@pytest.mark.slow
def test_what_saw_validation_images_is_judged_on_the_test_split_also_as_a_teacher(exported, tmp_path):
    seen = known_to(exported, tmp_path / "seen", trained_on=["train", "val"])
    given: list[dict] = [{}, {"start": "scratch", "teacher": seen}, {"start": "scratch"}]
    found = []
    for number, more in enumerate(given):
        out = tmp_path / str(number)
        report = retrain(seen, out, few(epochs=1, **more))
        assert report is not None
        assert report["artefacts"].keys() == {"model.py"}  # as the export has
        known = json.loads((out / "arch.json").read_text())["provenance"]
        found.append((known["judged_on"], known["trained_on"]))
    assert found == [("test", ["train", "val"]), ("test", ["train", "val"]), ("val", ["train"])]


def test_other_data_than_the_searchs_are_asked_for(exported, tmp_path):
    other = known_to(exported, tmp_path / "other", data={"name": DATA, "fingerprint": "0" * 16})
    with pytest.raises(ExportError, match=r"are not those that it was trained on .*, or say with --data"):
        retrain(other, None, few(train_images=None))
    moved = known_to(exported, tmp_path / "moved", data={"name": "folder:images"})
    with pytest.raises(ExportError, match="say it with --data folder:PATH"):
        retrain(moved, None, few())
    (moved / "model.py").write_text("raise SystemExit")
    with pytest.raises(ExportError, match=r"model\.py is not what was exported"):
        retrain(moved, None, few())


def test_a_trial_of_a_run_is_exported_in_it_and_a_retrained_export_stays(tiny):
    run = nas.search(**tiny | {"trials": 1})
    assert target_of(run.path, None) == run.path / "retrained"
    assert retrain(run.path, None, few(epochs=1), trial="0", formats=["py"]) is not None
    assert json.loads((run.path / "retrained" / "arch.json").read_text())["provenance"]["split"]["val_fraction"] == 0.05
    shutil.move(run.path / "retrained", run.path / "exported")
    before = (run.path / "exported" / "weights.pt").stat()
    said: list[str] = []
    assert deliver(nas.open_run(run.path), "best", said.append).exported == run.path / "exported"
    assert (run.path / "exported" / "weights.pt").stat() == before
    assert "stays" in said[-1]


@pytest.mark.slow
def test_stopped_and_gone_on_with_it_ends_with_the_same_weights(exported, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    retrain(exported, whole, few(epochs=3), formats=["py"])
    saved = loop.Checkpoint.save

    def stopped(self: loop.Checkpoint, state: dict) -> None:
        saved(self, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Checkpoint, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        retrain(exported, tmp_path / "parts", few(epochs=3), formats=["py"])
    monkeypatch.setattr(loop.Checkpoint, "save", saved)
    with pytest.raises(ExportError, match="is of another training"):
        retrain(exported, tmp_path / "parts", few(epochs=3, seed=1), formats=["py"])
    said: list[str] = []
    retrain(exported, tmp_path / "parts", few(epochs=3), formats=["py"], announce=said.append)
    assert "going on after epoch 2 of 3" in said
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def other_weights(exported: Path, folder: Path) -> Path:
    """The export with another network of that architecture in it."""
    shutil.copytree(exported, folder)
    weights = load_file(folder / "weights.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in weights.items()}, folder / "weights.safetensors")
    write_hashes(folder)
    return folder


def test_a_state_is_of_what_it_began_with_and_learnt_from(exported, tmp_path, monkeypatch):
    """No other weights, teacher or split go on from it."""
    other = other_weights(exported, tmp_path / "other")
    seen = known_to(exported, tmp_path / "seen", trained_on=["train", "val"])
    marks: list[str] = []

    def stopped(self: loop.Checkpoint, device: torch.device) -> None:
        marks.append(self.of)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Checkpoint, "load", stopped)
    given: list[tuple[Path, dict]] = [
        (exported, {}),
        (other, {}),
        (exported, {"teacher": exported}),
        (exported, {"teacher": other}),
        (seen, {}),
        (exported, {"start": "scratch"}),
        (other, {"start": "scratch"}),
    ]
    for folder, more in given:
        with pytest.raises(KeyboardInterrupt):
            retrain(folder, tmp_path / "out", few(**more))
    assert len(set(marks)) == 6
    assert marks[5] == marks[6]  # nothing of it is begun with


def exported_of(folder: Path, spec: InputSpec, classes: tuple[str, ...], mean=0.3, std=0.3) -> Path:
    space = SearchSpace.named("resnet8", spec)
    weights = space.build(space.baseline).state_dict()
    scaling = [(value,) * spec.channels for value in (mean, std)]
    export_network(TrainedNetwork(space, space.baseline, weights, classes, *scaling, {}), folder, formats=["py"])
    return folder


def test_a_teacher_of_other_classes_or_channels_is_refused(exported, tmp_path):
    classes = load_data(DataConfig(DATA)).classes
    colour = exported_of(tmp_path / "colour", InputSpec(3, 28, 10), classes)
    with pytest.raises(ExportError, match="the teacher takes 3 channels and tells 10 classes, the data have 1 and 10"):
        retrain(exported, tmp_path / "out", few(teacher=colour))
    fewer = exported_of(tmp_path / "fewer", InputSpec(1, 28, 9), classes[:9])
    with pytest.raises(ExportError, match="tells 9 classes"):
        retrain(exported, tmp_path / "out", few(teacher=fewer))
    turned = exported_of(tmp_path / "turned", InputSpec(1, 28, 10), classes[::-1])
    with pytest.raises(ExportError, match=f"the teacher's classes are '{classes[-1]}, .*: give one of the same data"):
        retrain(exported, tmp_path / "out", few(teacher=turned))
    assert not (tmp_path / "out").exists()


def test_a_teacher_is_asked_in_its_own_scaling(tmp_path):
    data = load_data(DataConfig(DATA))
    found = teacher_of(exported_of(tmp_path / "other", InputSpec(1, 28, 10), data.classes, 0.1, 0.7))
    network = found.space.build(found.architecture)
    network.load_state_dict(dict(found.weights or {}))
    pixels = data.val.images[:8].float() / 255
    with torch.inference_mode():
        own = network.eval()((pixels - 0.1) / 0.7)
        answer = distillation_by(found, data, torch.device("cpu")).teacher((pixels - data.mean[0]) / data.std[0])
    torch.testing.assert_close(answer, own, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_teacher_changes_what_is_learnt(exported, tmp_path):
    retrain(exported, tmp_path / "alone", few(start="scratch"), formats=["py"])
    retrain(exported, tmp_path / "taught", few(start="scratch", teacher=tmp_path / "alone"), formats=["py"])
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("alone", "taught"))
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    known = json.loads((tmp_path / "taught" / "arch.json").read_text())["provenance"]
    assert known["retrained"]["teacher"] == "alone"


@pytest.mark.slow
def test_two_processes_share_each_batch(exported, tmp_path):
    retrained_by_two(exported, tmp_path / "two", 256)


def test_the_shares_of_a_batch_are_all_of_it():
    draws = Draws(torch.arange(7), torch.rand(3, 7), None, None, torch.randperm(7), torch.tensor(0.3))
    shares = [Processes(rank, 2).share(draws) for rank in range(2)]
    assert sorted(torch.cat([share.places for share in shares]).tolist()) == list(range(6))
    for rank, share in enumerate(shares):
        assert share.shifts is not None
        assert share.partners is not None
        assert torch.equal(share.shifts, draws.shifts[:, rank:6:2])
        assert sorted(share.partners.tolist()) == [0, 1, 2]


def test_what_is_neither_export_nor_run_or_was_changed_is_refused(exported, tmp_path):
    with pytest.raises(ExportError, match="neither an export nor a run"):
        retrain(tmp_path, None, few())
    shutil.copytree(exported, tmp_path / "changed")
    path = tmp_path / "changed" / "arch.json"
    document = json.loads(path.read_text())
    document["architecture"]["choices"]["layer1.0"] = "add"
    path.write_text(json.dumps(document))
    with pytest.raises(ExportError, match="is not what was exported"):
        retrain(tmp_path / "changed", None, few())
