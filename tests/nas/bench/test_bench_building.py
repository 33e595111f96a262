"""The table is built by one path, begins with what tells most, and goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.bench.building import Site, build, images_path, outlook
from nas.bench.editions import EDITIONS, Edition, Schedule, architectures_of, rows, uniform
from nas.bench.errors import BenchError
from nas.bench.packing import beginning, contents_of
from nas.bench.table import Table
from nas.bench.table_file import to_bytes, write_table
from nas.engines.interruption import Interrupted, Interruption
from nas.settings.errors import ConfigError
from nas.telling import Silence
from nas.trainings.run_record import RunRecord
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.errors import StoreDamaged
from trials.readings import Images
from trials.record.images import read_images
from trials.record.training import Training

SPACE = SearchSpace.named("resnet8", InputSpec(3, 32, 10))


class Told(Silence):
    """Counts what has ended, and interrupts after so many."""

    def __init__(self, most: int = 10**6) -> None:
        super().__init__()
        self.ended: list[Training] = []
        self._most = most

    def counting(self, total: int) -> Any:
        told = self

        class Counting:
            def __enter__(self) -> Any:
                return told._tell

            def __exit__(self, *error: object) -> None: ...

        return Counting()

    def _tell(self, training: Training) -> None:
        self.ended.append(training)
        if len(self.ended) == self._most:
            raise Interrupted(2)


@pytest.fixture
def edition() -> Edition:
    """Two architectures, one seed, 256 images: some seconds."""
    settings = {
        "space": "resnet8", "train_images": 256, "val_fraction": 0.05, "engine": "local", "device": "cpu",
        "operators": ["add", "concat"], "training.batch_size": 64, "training.precision": "float32",
    }  # fmt: skip
    return Edition(
        "tiny", settings, 1, (Schedule("inherit", 1),), Schedule("inherit", 2), Schedule("scratch", 2),
        Schedule("scratch", 3), 1, 0, 2,
    )  # fmt: skip


def test_what_tells_most_comes_first() -> None:
    edition = EDITIONS["cpu"]
    wanted = list(rows(edition, SPACE))
    assert len(wanted) == 60 * 3 * 4 + 14 * 2
    assert len({(row.schedule, row.wanted.identity("")) for row in wanted}) == len(wanted)
    assert [row.wanted.seed for row in wanted[:112]] == ([0] * 28 + [1] * 28) * 2, "the noise is known early"
    assert {row.wanted.seed for row in wanted[112 : 112 + 46 * 4]} == {0}
    per_architecture = Counter(row.wanted.architecture.key for row in wanted[:28])
    assert set(per_architecture.values()) == {4}, "a block is whole before the next begins"
    architectures = architectures_of(edition, SPACE)
    assert architectures[0] == SPACE.baseline
    assert set(SPACE.neighbours(SPACE.baseline)) <= set(architectures)
    assert len(set(architectures)) == 60
    assert set(architectures_of(EDITIONS["gpu"], SPACE)) == set(SPACE.enumerate())


def test_many_points_are_sampled_by_draws() -> None:
    edition, space = EDITIONS["nine-point"], SearchSpace.named("resnet20", InputSpec(3, 32, 10))
    architectures = architectures_of(edition, space)
    alike = uniform(space)
    assert architectures[: len(alike)] == alike
    drawn = architectures[len(alike) :]
    assert len(set(architectures)) == len(architectures) == 40
    assert min(sum(choice.op != "add" for choice in one.choices.values()) for one in drawn) > 1, "of all points at once"
    ahead = outlook(edition, ())
    assert ahead.space == "resnet20"
    assert ahead.wanted == {"inherit-1": 80, "inherit-3": 80, "inherit-9": 80, "scratch-18": 80}
    assert ahead.images["inherit-3"] == 80 * 3 * 10_000


def test_it_is_built_once_and_goes_on(edition: Edition, tmp_path: Path) -> None:
    out, told = tmp_path / "run", Told(most=3)
    with pytest.raises(Interrupted):
        build(edition, Site("fashion-mnist-mini", out), lambda prepared, record: None, told, Interruption())
    again = Told()
    done = build(edition, Site("fashion-mnist-mini", out), lambda prepared, record: None, again, Interruption())
    assert (done.there, done.wanted, done.failed) == (6, 6, 0)
    assert len(told.ended) == 3
    assert len(again.ended) == 3
    with RunRecord.open(out) as record:
        known = record.known()
    assert len({training.identity for training in known}) == 6
    assert {training.start.partition(":")[0] for training in known} == {"scratch", "inherit"}
    truths = [training for training in known if training.start == "scratch"]
    assert len(truths) == 2
    for training in truths:
        images = read_images(images_path(out, training))
        assert len(images.right) == training.images
        assert images.right.sum() == training.correct, "the same network, judged the same"
        assert abs(float(images.losses.mean(dtype=float)) - (training.loss or 0)) < 1e-3
    contents = contents_of(out, edition)
    file = tmp_path / "table.zip"
    write_table(file, contents)
    table = Table.load(file)
    latencies = {"eager": {"device": {"name": "a machine"}, "architectures": {}}}
    measured = tmp_path / "measured.zip"
    write_table(measured, replace(contents, header={**contents.header, "latencies": latencies}))
    assert contents_of(out, edition, measured).header["latencies"] == latencies, "packed over it, they stay"
    assert table.query("concat,concat,concat", "scratch-2", 0).images is not None
    assert table.header["datasheet"]["trainings"]["inherit-1"]["images_trained"] == 256
    elsewhere = Told()
    begin = beginning(edition, str(file), elsewhere.say)
    build(edition, Site("fashion-mnist-mini", tmp_path / "elsewhere"), begin, elsewhere, Interruption())
    assert not elsewhere.ended, "another machine goes on from the table"
    assert to_bytes(contents_of(tmp_path / "elsewhere", edition)) == file.read_bytes()
    with pytest.raises(ConfigError, match="are not the images of"):
        build(
            replace(edition, settings={**edition.settings, "train_images": 300}),
            Site("fashion-mnist-mini", tmp_path / "other"), begin, elsewhere, Interruption(),
        )  # fmt: skip
    with pytest.raises(BenchError, match="is of edition tiny, not cpu"):
        beginning(EDITIONS["cpu"], str(file), elsewhere.say)
    with pytest.raises(BenchError, match="is no record of edition cpu"):
        contents_of(out, EDITIONS["cpu"])
    nothing = Told()
    build(edition, Site("fashion-mnist-mini", out), lambda prepared, record: None, nothing, Interruption())
    assert not nothing.ended


@pytest.mark.slow
def test_several_are_trained_side_by_side(edition: Edition, tmp_path: Path) -> None:
    found = {}
    for name, place in (("alone", {}), ("two", {"engine": "ray", "workers": 2})):
        done = build(
            edition,
            Site("fashion-mnist-mini", tmp_path / name, place),
            lambda prepared, record: None,
            Told(),
            Interruption(),
        )
        assert (done.there, done.failed) == (6, 0)
        contents = contents_of(tmp_path / name, edition)
        found[name] = {(t.identity, t.score) for t in contents.trainings}
        assert len(contents.images) == 2
    assert found["two"] == found["alone"], "where it ran does not show in what it came to"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    assert Schedule.parse("scratch-18") == Schedule("scratch", 18)
    for name in ("scratch", "supernet-3", "inherit-0", "inherit-x"):
        with pytest.raises(ConfigError, match="expected a start and epochs"):
            Schedule.parse(name)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04")
    with pytest.raises(StoreDamaged, match="is damaged"):
        read_images(broken)
    with pytest.raises(ValueError, match="no readings"):
        Images.from_bytes(b"")
