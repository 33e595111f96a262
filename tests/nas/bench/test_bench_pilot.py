"""A pilot finds what was planted, trains each network once, and shows what older ones recorded."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import nas_program
from test_bench_building import Told

from nas.bench.decomposition import Decomposition, decompose
from nas.bench.errors import BenchError
from nas.bench.pilot.analysis import Look, analyse, icc_interval, pair_seeds
from nas.bench.pilot.plan import Pilot, architectures
from nas.bench.pilot.readings import FILE_NAME, Reading, ReadingsFile, Way, read_readings
from nas.bench.pilot.running import outlook, run_pilot
from nas.bench.pilot.watching import changes, tempered
from nas.engines.interruption import Interrupted, Interruption
from nas.settings.errors import ConfigError
from nas.trainings.run_record import RunRecord
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace, fusion_modules
from trials.errors import StoreDamaged

RECORD = Path("benchmarks/results/pilot-resnet8-cifar10.jsonl")
SHORT, LONG = Way("inherit", 3, 0.05, 1.0), Way("scratch", 9, 0.2, 1.0)


def planted(way: Way, effects: np.ndarray, noise: float, seeds: int, rng: np.random.Generator) -> list[Reading]:
    """Of networks whose accuracy differs by `effects` points, with so much noise; the loss has a tenth of it."""
    shifts = rng.normal(0, 0.5, seeds + 1)
    return [
        Reading(
            way, f"{place:04}", {"a": "se/4", "b": "add"}, seed,
            (60 + effect + shifts[seed] + rng.normal(0, noise)) / 100,
            1 - 0.02 * effect + 0.02 * rng.normal(0, noise / 10), 0.7, 1 - 0.01 * effect + rng.normal(0, 0.01),
            rng.random(4) < 0.6, 1000 * way.epochs, 1.0, {"a": (2.0, 0.5)}, {"a": {"gate": (0.5, 0.1)}},
        )
        for place, effect in enumerate(effects)
        for seed in range(1, seeds + 1)
    ]  # fmt: skip


def look_of(looks: tuple[Look, ...], way: Way, figure: str) -> Look:
    return next(look for look in looks if (look.way, look.figure) == (way, figure))


def test_planted_variance_is_found() -> None:
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.4, 400)
    readings = [*planted(SHORT, effects, 0.3, 6, rng), *planted(LONG, effects, 0.6, 4, rng)]
    found = analyse(readings)
    assert (found.truth, found.architectures, found.seeds) == (LONG, 400, 6)
    short = look_of(found.looks, SHORT, "accuracy")
    icc = 0.4**2 / (0.4**2 + 0.3**2)
    assert short.noise.architecture == pytest.approx(0.4, rel=0.1)
    assert short.pair == pytest.approx(2**0.5 * 0.3, rel=0.05)
    assert short.noise.icc == pytest.approx(icc, abs=0.05)
    assert short.icc_low < icc < short.icc_high
    assert short.noise.between_seeds == pytest.approx(2 / math.pi * math.asin(icc), abs=0.05)
    loss = look_of(found.looks, SHORT, "loss")
    assert loss.noise.icc == pytest.approx(0.4**2 / (0.4**2 + 0.03**2), abs=0.01)
    assert loss.noise.mean == pytest.approx(1, abs=0.01)
    assert loss.rho is not None
    assert short.rho is not None
    truth_reliability = (0.4**2 / (0.4**2 + 0.6**2 / 4)) ** 0.5
    assert short.rho == pytest.approx(6 / math.pi * math.asin(icc**0.5 * truth_reliability / 2), abs=0.05)
    assert loss.rho > short.rho
    assert found.best == loss
    assert found.tells is False, "ICC .31 at the truth"
    assert analyse([*planted(LONG, effects, 0.2, 3, rng)]).tells is True
    move = next(move for move in found.moves if move.way == SHORT)
    assert (move.operator, move.weights, move.gates, move.fusions) == ("se", 0.25, pytest.approx(0.1), 2400)


def test_a_pair_is_decided_after_so_many_seeds() -> None:
    """The typical pair, under as many seeds as are said: right in nineteen of twenty, and not under a third of them."""
    rng = np.random.default_rng(1)
    noise = Decomposition(0, 0, 0.0, 0.2, 0.0, 0.4, 0.2, 0.1)
    seeds = pair_seeds(noise)
    assert seeds == 24
    typical = float(np.median(np.abs(np.subtract(*rng.normal(0, noise.architecture, (2, 100_000))))))

    def right(count: int) -> float:
        ours, theirs = rng.normal(0, noise.interaction, (2, 20_000, count))
        return float(((typical + ours - theirs).mean(1) > 0).mean())

    assert right(seeds) == pytest.approx(0.95, abs=0.01)
    assert right(seeds // 3) < 0.9
    assert pair_seeds(replace(noise, architecture=0.0)) is None
    assert pair_seeds(replace(noise, interaction=0.0)) == 1


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = []
    for _ in range(400):
        values = rng.normal(0, 1, (12, 1)) + rng.normal(0, 1, (1, 3)) + rng.normal(0, 1, (12, 3))
        low, high = icc_interval(decompose(values))
        held.append(low <= 0.5 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_calibration_is_no_quality() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (4000,), generator=generator)
    logits = torch.randn(4000, 5, generator=generator)
    logits[torch.arange(4000), labels] += 2
    found = tempered(logits, labels)
    flat, sharp = tempered(logits / 3, labels), tempered(4 * logits, labels)
    assert flat.loss == pytest.approx(found.loss, abs=1e-6)
    assert sharp.loss == pytest.approx(found.loss, abs=1e-6)
    assert sharp.temperature / flat.temperature == pytest.approx(12, rel=1e-3)


def test_what_changed_is_measured() -> None:
    space = SearchSpace.named("resnet8", InputSpec(3, 32, 10), ["add", "se"], [4])
    one = space.architecture(dict(zip([p.name for p in space.points], ["se/4", "add", "se/4"], strict=True)))
    began, ended = space.build(one), space.build(one)
    ended.load_state_dict(began.state_dict())
    with torch.no_grad():
        for parameter in fusion_modules(ended)["layer1.0"].parameters():
            parameter.mul_(1.5)
    found = changes(began, ended)
    assert set(found) == {"layer1.0", "layer3.0"}
    norm, change = found["layer1.0"]
    assert change == pytest.approx(norm / 2)
    assert found["layer3.0"][1] == 0


@pytest.fixture
def pilot() -> Pilot:
    """Three architectures, two seeds, 128 images: some seconds."""
    settings = {
        "space": "resnet8", "data": "fashion-mnist-mini", "train_images": 128, "val_fraction": 0.05, "device": "cpu",
        "operators": ["add", "concat", "cbam"], "training.batch_size": 64, "training.precision": "float32",
    }  # fmt: skip
    return Pilot(settings, epochs=(1,), long_epochs=2, trunk_rates=(0.25,), architectures=3, seeds=2)


@pytest.mark.slow
def test_it_trains_each_once_and_goes_on(pilot: Pilot, tmp_path: Path) -> None:
    out, told = tmp_path / "pilot", Told(most=5)
    ahead = outlook(pilot, out, Told())
    assert ahead.wanted == ahead.missing == dict.fromkeys(
        ("scratch-1", "inherit-1 0.05 ×1", "inherit-1 0.05 ×10", "supernet-1 0.05 ×1", "scratch-2"), 6
    )  # fmt: skip
    assert ahead.images["scratch-2"] == 6 * 2 * 128
    assert not out.exists()
    with pytest.raises(Interrupted):
        run_pilot(pilot, out, told, Interruption())
    broken = out / FILE_NAME
    broken.write_text(broken.read_text() + '{"start": "inhe')
    again = Told()
    done = run_pilot(pilot, out, again, Interruption())
    assert (done.there, done.wanted, done.failed) == (30, 30, 0)
    assert len(told.ended) + len(again.ended) == 30
    with RunRecord.open(out / "inherit-0.05-x10") as record:
        known = record.known()
        assert record.view.config["training"]["fusion_lr_scale"] == 10.0
    with RunRecord.open(out / "inherit-0.05-x1") as record:
        starts = {training.start for training in (*known, *record.known())}
    assert len(starts) == 1, "one parent for all rates"
    readings = {reading.identity: reading for reading in read_readings(out).readings}
    assert len(readings) == 30
    for training in known:
        reading = readings[Way("inherit", 1, 0.05, 10.0), training.architecture.key, training.seed]
        assert (reading.accuracy, reading.loss) == (training.score, training.loss)
        assert reading.right.sum() == training.correct, "the same network, judged the same"
        assert reading.tempered_loss <= reading.loss + 1e-6
    found = analyse(list(readings.values()))
    moved = {(move.way.name, move.operator): move for move in found.moves}
    slow, fast = (moved[f"inherit-1 0.05 ×{rate}", "cbam"] for rate in (1, 10))
    assert slow.weights is not None
    assert fast.weights is not None
    assert fast.weights > 2 * slow.weights > 0
    assert slow.gates is not None
    assert ("scratch-2", "add") not in moved
    nothing = Told()
    run_pilot(pilot, out, nothing, Interruption())
    assert not nothing.ended
    with pytest.raises(ConfigError, match=r"of a pilot with other settings \(training.flip: recorded True"):
        run_pilot(replace(pilot, settings={**pilot.settings, "training.flip": False}), out, nothing, Interruption())
    lines = broken.read_text().splitlines(keepends=True)
    broken.write_text("".join(lines[:-1]))
    with pytest.raises(StoreDamaged, match=r"lacks a training that .* has recorded"):
        run_pilot(pilot, out, nothing, Interruption())
    broken.write_text("".join(lines))
    shown = nas_program("bench", "pilot", "--show", out)
    assert shown.returncode == 0, shown.stderr
    assert "inherit-1 0.05 ×10" in shown.stdout


def test_architectures_begin_with_each_operator() -> None:
    space = SearchSpace.named("resnet8", InputSpec(3, 32, 10))
    drawn = architectures(space, 12)
    assert drawn[0] == space.baseline
    assert len(set(drawn)) == 12
    alike = {next(iter(one.choices.values())).op for one in drawn if len(set(one.choices.values())) == 1}
    assert alike == set(space.operators)
    assert architectures(space, 3) == drawn[:3]


def test_the_committed_record_tells_what_the_notebook_says() -> None:
    told = json.loads(nas_program("bench", "pilot", "--show", RECORD, "--json").stdout)
    looks = {(look["way"], look["figure"]): look for look in told["looks"]}
    for way, figure, icc, rho in (
        ("inherit-3 0.05 ×1", "accuracy", 0.56, 0.65), ("inherit-3 0.05 ×1", "loss", 0.98, 0.87),
        ("inherit-3 0.05 ×10", "accuracy", 0.73, 0.51), ("inherit-3 0.05 ×10", "tempered_loss", 0.94, 0.65),
        ("scratch-9", "accuracy", 0.43, None),
    ):  # fmt: skip
        assert round(looks[way, figure]["noise"]["icc"], 2) == icc
        assert rho is None or round(looks[way, figure]["rho"], 2) == rho
    assert told["best"] == {"way": "inherit-3 0.05 ×1", "figure": "loss"}
    assert told["tells"] is False


def test_a_file_is_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    reading = replace(planted(SHORT, np.zeros(1), 0.1, 1, rng)[0], right=rng.random(21) < 0.5)
    file = ReadingsFile(tmp_path / FILE_NAME, {"space": "s", "data": "d", "train": 100, "val": 21})
    file.append(reading)
    (read,) = read_readings(tmp_path).readings
    assert read.to_json() == reading.to_json()
    assert (read.right == reading.right).all()
    assert reading.identity in ReadingsFile(tmp_path / FILE_NAME, {"space": "s", "data": "d"})
    with pytest.raises(BenchError, match=r"is of another data \(fingerprint e, there d\)"):
        ReadingsFile(tmp_path / FILE_NAME, {"space": "s", "data": "e"})
    with pytest.raises(BenchError, match="1 trainings are too few for a pilot"):
        analyse([read])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--show", "nothing.jsonl"), "nas: nothing.jsonl: No such file or directory; give a pilot's --out"),
        (("--show", "foreign.jsonl"), "nas: foreign.jsonl, line 1: not of a pilot (KeyError: 'val')"),
        (("--show", "x.jsonl", "--seeds", "3"), "nas: --show tells what was trained: give it alone"),
        (("--starts", "warm"), "nas: --starts: given 'warm'; expected some of scratch, inherit, supernet"),
        (("--seeds", "1"), "nas: --seeds: given 1; 2 or more tell architectures from noise"),
        (("--set", "training.epochs=3"), "nas: training.epochs: a pilot varies it itself"),
        (("--trunk-rates", "0,1"), "nas: --trunk-rates, --fusion-rates: expected numbers above 0"),
        (("--data", "scenes-mini"), "nas: --data: "),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "foreign.jsonl").write_text('{"a": 1}\n')
    done = nas_program("bench", "pilot", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
