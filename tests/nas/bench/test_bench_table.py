"""The table answers what was trained, says what was not, and refuses a file that is not what it was."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_tables import SPACE, invented

from nas.bench.decomposition import decompose
from nas.bench.errors import BenchError
from nas.bench.table import Table, load
from nas.bench.table_file import from_bytes, read_table, to_bytes, write_table


@pytest.fixture(scope="module")
def table() -> Table:
    return Table(invented(leave_out=1))


def test_a_training_is_answered_however_it_is_asked_for(table: Table) -> None:
    labels = {"layer1.0": "add", "layer2.0": "cbam/4", "layer3.0": "concat"}
    answers = [
        table.query(given, "inherit-3", 1)
        for given in ("add,cbam/4,concat", ["add", "cbam/4", "concat"], labels, SPACE.architecture(labels))
    ]
    assert len({id(answer.architecture) for answer in answers}) == 4
    assert len({(a.accuracy, a.loss, a.seed, a.fidelity, a.images_trained) for a in answers}) == 1
    assert answers[0].images_trained == 3000
    assert len(answers[0].curve) == 3
    assert answers[0].images is None
    truth = table.query(labels, "scratch-18", 0)
    assert truth.images is not None
    assert truth.images.right.sum() == truth.correct == round(truth.accuracy * truth.validation_images)
    mean = table.mean(labels, "scratch-18")
    assert mean.seeds == table.seeds(labels, "scratch-18") == (0, 1, 2)
    assert mean.accuracy == pytest.approx(np.mean([table.query(labels, "scratch-18", s).accuracy for s in range(3)]))
    assert table.fidelities == ("inherit-1", "inherit-3", "inherit-9", "scratch-18")
    assert len(list(table.architectures())) == 63
    assert table.price(labels).params == 70_000


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("cbam/4,cbam/4,cbam/4", "inherit-3", 0), r"was not trained at inherit-3: .* holds 63 .* nearest is .*cbam"),
        (("add,add,add", "inherit-4", 0), "lacks fidelity 'inherit-4': it has inherit-1, inherit-3"),
        (("add,add,add", "inherit-3", 7), "seed 7: add,add,add was trained at inherit-3 under 0, 1, 2"),
        (("add,add", "inherit-3", 0), "expected 3 choices, of layer1.0, layer2.0, layer3.0"),
        (("add,add,cbm/4", "inherit-3", 0), "'cbm/4' is not on offer at layer3.0: .*did you mean 'cbam/4'"),
        (({"layer1.0": "add"}, "inherit-3", 0), "expected a choice for each of layer1.0, layer2.0, layer3.0"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(table: Table, asked: tuple[str, str, int], said: str) -> None:
    with pytest.raises(BenchError, match=said) as error:
        table.query(*asked)
    assert "\n" not in str(error.value)


def test_a_file_is_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    path, contents = tmp_path / "table.zip", invented()
    write_table(path, contents)
    read = read_table(path)
    assert len(read.trainings) == len(contents.trainings)
    assert all(here.identity == there.identity for here, there in zip(read.trainings, contents.trainings, strict=True))
    assert "host" not in read.trainings[0].environment
    identity = next(iter(contents.images))
    assert (read.images[identity].right == contents.images[identity].right).all()
    assert (read.images[identity].losses == contents.images[identity].losses).all()
    assert to_bytes(read) == path.read_bytes(), "the same contents give the same bytes"
    assert Table.load(path).query("add,add,add", "scratch-18", 0).images is not None


def test_a_file_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    whole = to_bytes(invented(seeds=1))
    with pytest.raises(BenchError, match="does not match its hash"):
        from_bytes(_changed(whole, "trainings.jsonl", b'"score":0.6', b'"score":0.9'), "t.zip")
    with pytest.raises(BenchError, match="is damaged or no table"):
        from_bytes(whole[: len(whole) // 2], "t.zip")
    other = from_bytes(whole, "t.zip")
    newer = to_bytes(replace(other, header={**other.header, "schema": 99}))
    with pytest.raises(BenchError, match=r"schema 99, this fusion-nas reads 1"):
        from_bytes(newer, "t.zip")
    foreign = to_bytes(replace(other, header={**other.header, "format": "something else"}))
    with pytest.raises(BenchError, match="no table of fusion-nas bench"):
        from_bytes(foreign, "t.zip")
    with pytest.raises(BenchError, match="No such file"):
        read_table(tmp_path / "nothing.zip")
    with pytest.raises(BenchError, match="this package has"):
        load("resnet50-imagenet")


def _changed(content: bytes, part: str, old: bytes, new: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as there, zipfile.ZipFile(changed, "w") as here:
        for name in there.namelist():
            read = there.read(name)
            here.writestr(name, read.replace(old, new) if name == part else read)
    return changed.getvalue()


def test_variance_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    values = 65 + rng.normal(0, 0.4, (400, 1)) + rng.normal(0, 0.5, (1, 30)) + rng.normal(0, 0.3, (400, 30))
    found = decompose(values)
    assert found.architecture == pytest.approx(0.4, rel=0.1)
    assert found.interaction == pytest.approx(0.3, rel=0.05)
    assert found.seed == pytest.approx(0.5, rel=0.35)
    assert found.icc == pytest.approx(0.16 / 0.25, rel=0.1)
    right = rng.random((20, 6, 1000)) < 0.7  # all that differs is which images turn
    churn = decompose(100 * right.mean(2), right)
    assert churn.images is not None
    assert 100 * churn.images == pytest.approx(churn.interaction, rel=0.2)
    with pytest.raises(ValueError, match="at least two of each"):
        decompose(values[:1])
