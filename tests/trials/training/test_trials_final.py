"""What finalists are trained on and judged by: the cut of a test split, what is left out of it, and a judgement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scenes_folder import cells

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, DataError, SceneConfig, SceneSplit, load_data, load_scenes
from trials.data.findings import sentences
from trials.data.splitting import cut_test, cut_validation
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.training import final
from trials.training.final import final_data, judged_split
from trials.trial import LatencyProtocol, Recipe, TrialJob, TrialState

LABELS = np.repeat(np.arange(3), 20)
CLASSES = ("a", "b", "c")


def write(folder: Path, count: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for place in range(count):
        file = folder / "ab"[place % 2] / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(file)
    return folder


def test_a_test_split_is_cut_by_class_from_a_stream_of_its_own() -> None:
    train, test = cut_test(LABELS, CLASSES, 0.2, 0, validated=False)
    assert np.bincount(LABELS[test]).tolist() == [4, 4, 4]
    assert not set(train) & set(test)
    assert set(test) != set(cut_validation(LABELS, CLASSES, 0.2, 0)[1])
    one_each = np.repeat(np.arange(3), 3)
    assert [len(part) for part in cut_test(one_each, CLASSES, 0.9, 0, validated=False)] == [6, 3]
    with pytest.raises(DataError, match=r"'a' has 2.*at least 3 are needed to cut a test split.*--finalists none"):
        cut_test(np.repeat(np.arange(3), 2), CLASSES, 0.2, 0, validated=False)


def test_a_folder_without_one_gets_one_and_any_other_stays_as_it_was(tmp_path: Path) -> None:
    plain = DataConfig(f"folder:{write(tmp_path / 'plain', 60)}")
    cut = load_data(replace(plain, test_fraction=0.2))
    assert load_data(plain).test is None
    assert cut.test is not None
    assert [len(cut.train), len(cut.val), len(cut.test)] == [38, 10, 12]
    assert cut.fingerprint == load_data(replace(plain, test_fraction=0.2)).fingerprint != load_data(plain).fingerprint
    write(tmp_path / "split" / "train", 40)
    write(tmp_path / "split" / "test", 10, seed=1)
    whole = DataConfig(f"folder:{tmp_path / 'split'}")
    assert load_data(whole).fingerprint == load_data(replace(whole, test_fraction=0.2)).fingerprint


def test_what_was_seen_is_not_judged_by(tmp_path: Path) -> None:
    write(tmp_path / "train", 40)
    write(tmp_path / "test", 10, seed=1)
    data = load_data(DataConfig(f"folder:{tmp_path}"))
    assert len(judged_split(data)) == 10
    seen = tmp_path / "train" / "a" / "0.png"
    (tmp_path / "test" / "a" / "copy.png").write_bytes(seen.read_bytes())
    data = load_data(DataConfig(f"folder:{tmp_path}"))
    found = final_data(data)
    assert len(data.test or ()) == 11
    assert len(found.val) == 10
    assert len(found.train) == len(data.train) + len(data.val)
    assert found.mean == data.mean
    both = data.findings.test_in_train.images, data.findings.test_in_val.images
    assert sum(both) == 1
    assert any("test image is a" in said for said in sentences(data.findings.to_json()))
    with pytest.raises(DataError, match="no test split"):
        final_data(replace(data, test=None))
    with pytest.raises(DataError, match="all 11 test images are"):
        final_data(replace(data, unseen=data.unseen[:0]))


def test_many_images_are_put_together_on_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "data" / "train", 40)
    write(tmp_path / "data" / "test", 10, seed=1)
    data = load_data(DataConfig(f"folder:{tmp_path / 'data'}"))
    in_memory = final_data(data).train
    monkeypatch.setattr(final, "IN_MEMORY_BYTES", 0)
    on_disk = [final_data(data).train for _ in range(2)]
    assert all(torch.equal(one.images, in_memory.images) for one in on_disk)
    assert torch.equal(on_disk[0].labels, in_memory.labels)
    (entry,) = (tmp_path / "cache" / "decoded").glob("joined-*[0-9a-f]")
    assert (entry / "images.npy").stat().st_size == 128 + in_memory.images.nbytes
    on_disk[0].images[0] = 0  # copied on write: the file stays
    assert torch.equal(final_data(data).train.images, in_memory.images)


def test_scenes_are_cut_by_content_and_put_together_with_their_objects(tmp_path: Path) -> None:
    name = f"coco:{cells(tmp_path / 'data')}"
    plain, cut = (load_scenes(SceneConfig(name, image_size=64, test_fraction=share)) for share in (0.0, 0.25))
    if plain.test is None:
        assert cut.test is not None
        assert not {*cut.test.files} & {*cut.train.files, *cut.val.files}
    found = final_data(cut)
    assert isinstance(found.train, SceneSplit)
    assert found.train.files == cut.train.files + cut.val.files
    for place in (0, len(cut.train), len(found.train) - 1):
        source, at = (cut.train, place) if place < len(cut.train) else (cut.val, place - len(cut.train))
        mine, theirs = found.train.target(place), source.target(at)
        assert torch.equal(mine["boxes"], theirs["boxes"])
        assert torch.equal(mine["labels"], theirs["labels"])


def test_a_finalist_is_judged_on_the_test_split_and_puts_nothing_together_before() -> None:
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    data = DataConfig(train_images=256, val_fraction=0.05)
    recipe = Recipe(epochs=1, batch_size=64)
    bench = Bench(TrialPlan(space, data, recipe, LatencyProtocol(), "cpu", screening=False, timeout_seconds=10.0))

    def outcome(final: bool) -> TrialOutcome:
        *_, last = bench.judge(TrialJob(0, "sampler", space.baseline, 1, 1, 1, 1, final=final))
        assert isinstance(last, TrialOutcome)
        assert last.result.state is TrialState.COMPLETE, last.result.error
        return last

    before = outcome(final=False).result
    assert before.readings is None
    assert "finals" not in bench.__dict__
    result = outcome(final=True).result
    assert result.final
    assert result.images == 2000
    assert result.readings is not None
    assert int(result.readings.right.sum()) == result.correct
    assert len(result.readings.temperatures) == 2
    again = outcome(final=False).result
    assert (again.score, again.loss, again.images) == (before.score, before.loss, before.images)
    assert len(bench.finals.data.train) == 756
