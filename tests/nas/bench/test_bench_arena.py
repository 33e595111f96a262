"""The arena: worlds are what they say, the clock is right, every method keeps to its images, figures are as asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench_tables import SPACE, invented, worth

from nas.bench.arena.compare import Comparison, Setting, compare, comparison_of
from nas.bench.arena.estimates import Reached, critical_difference, reached_by, share_of
from nas.bench.arena.house import House
from nas.bench.arena.judging import judge
from nas.bench.arena.methods import METHODS, method
from nas.bench.arena.model import fit, shared_parts
from nas.bench.arena.playing import Ask, Brief, Clock, brief_of, play
from nas.bench.arena.rivals import Remembering
from nas.bench.arena.worlds import World, table_world
from nas.bench.errors import BenchError
from nas.bench.table import Table


@pytest.fixture(scope="module")
def world() -> World:
    return table_world(Table(invented(leave_out=14)))


def brief(world: World, looks: int = 12, workers: int = 1, seed: int = 0) -> Brief:
    return brief_of(world, 1.05, "inherit-3", looks * world.images("inherit-3"), workers, seed)


class MyMethod(Remembering):
    """Of somebody's own: all of the neighbours of all-add, and no more."""

    def __init__(self, brief: Brief) -> None:
        super().__init__(brief, "loss")
        self._left = list(brief.space.neighbours(brief.space.baseline))

    def ask(self) -> Ask | None:
        return self.look(self._left.pop()) if self._left else None


def test_the_model_knows_what_it_was_not_told() -> None:
    architectures = list(SPACE.enumerate())
    values = np.array([worth(architecture) for architecture in architectures])
    rng = np.random.default_rng(0)
    told = sorted(rng.permutation(len(architectures))[:30].tolist())
    known = [architectures[i] for i in told]
    fitted = fit(shared_parts(known, known), values[told] + rng.normal(0, 0.05, 30))
    predicted = fitted.predict(shared_parts(architectures, known))
    assert np.sqrt(np.mean((predicted - values) ** 2)) < 0.2 * values.std()
    assert np.std(fitted.residuals) < 0.3 * values.std()


def test_what_the_table_lacks_is_modelled_and_counted(world: World) -> None:
    assert world.measured.mean() == pytest.approx(50 / 64)
    lacking = [a for a, there in zip(world.architectures, world.measured[:, 0], strict=True) if not there]
    assert len(lacking) == 14
    assert not world.look(lacking[0], "inherit-3", 0, 0).measured
    errors = [100 * world.true_accuracy(a) - 65.1 - worth(a) for a in lacking]
    assert np.std(errors) < 0.3, "of effects that spread by .5 points"
    measured = world.architectures[0]
    assert world.look(measured, "inherit-3", 0, 0).measured
    table = Table(invented(leave_out=14))
    assert world.true_accuracy(measured) == pytest.approx(table.mean(measured, "scratch-18").accuracy, abs=0.001)


def test_the_noise_of_few_seeds_is_no_part_of_what_is_true() -> None:
    """Most have one seed, whose luck is as large as what operators are worth."""
    contents = invented(noise=0.5, seeds=2, leave_out=20)
    doubled = {a.key for a in list(SPACE.enumerate())[:12]}
    trainings = tuple(t for t in contents.trainings if t.seed == 0 or t.architecture.key in doubled)
    table = Table(replace(contents, trainings=trainings))
    world = table_world(table)
    true = np.array([100 * world.true_accuracy(a) for a in world.architectures])
    worths = np.array([worth(a) for a in world.architectures])
    there = [place for place, one in enumerate(world.measured[:, 0]) if one]
    raw = np.array([100 * table.mean(world.architectures[place], "scratch-18").accuracy for place in there])
    error, of_raw = (np.std(values - worths[there]) for values in (true[there], raw))
    assert error < 0.7 * of_raw
    assert true.std() < 1.15 * worths.std(), "as far apart as they are, not as they were seen"


def test_noise_is_the_tables_and_pairs_share_it(world: World) -> None:
    a, b = world.architectures[0], world.architectures[5]
    assert world.look(a, "inherit-3", 1, 2) == world.look(a, "inherit-3", 1, 2)
    looks = np.array([[100 * world.look(one, "inherit-3", 0, r).accuracy for one in (a, b)] for r in range(400)])
    assert (looks[:, 0] - looks[:, 1]).std() == pytest.approx(2**0.5 * 0.1, rel=0.2)
    assert looks[:, 0].std() > 0.11, "with what a seed does to all alike"


def test_planted_worlds_are_what_they_say(world: World) -> None:
    null = world.null()
    assert len({null.true_accuracy(a) for a in null.architectures}) == 1
    known = world.known({("layer3.0", "se"): 0.5, ("layer1.0", "cbam"): -0.2})
    gains = {a: 100 * (known.true_accuracy(a) - known.true_accuracy(SPACE.baseline)) for a in known.architectures}
    assert max(gains.values()) == pytest.approx(0.5)
    assert all(a.choices["layer3.0"].op == "se" for a, gain in gains.items() if gain > 0.4)
    assert min(gains.values()) == pytest.approx(-0.2)
    better = next(a for a, gain in gains.items() if gain > 0.4)
    losses = [np.mean([known.look(a, "inherit-3", 0, r).loss for r in range(50)]) for a in (better, SPACE.baseline)]
    assert losses[0] < losses[1]


def test_a_table_too_small_for_a_world_says_what_it_lacks() -> None:
    with pytest.raises(BenchError, match="has 3 architectures with every one of"):
        table_world(Table(invented(leave_out=61)))
    with pytest.raises(BenchError, match="trainings that tell its noise"):
        table_world(Table(invented(seeds=1)))
    whole = invented()
    short = replace(whole, trainings=tuple(t for t in whole.trainings if t.start != "scratch"), images={})
    with pytest.raises(BenchError, match="lacks fidelity scratch-18: it has"):
        table_world(Table(short))


def test_the_clock_keeps_its_workers_busy() -> None:
    ended: list[tuple[float, int]] = []
    jobs = iter([3, 1, 1, 1])
    clock = Clock[int](2)
    clock.run(lambda: next(jobs, None), float, lambda job: ended.append((clock.now, job)))
    assert ended == [(1.0, 1), (2.0, 1), (3.0, 3), (3.0, 1)]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("workers", [1, 4])
def test_every_method_keeps_to_its_images_and_repeats_itself(name: str, workers: int, world: World) -> None:
    told = brief(world, workers=workers, seed=3)
    played, again = (method(name).play(told, world, 3) for _ in range(2))
    assert played.events == again.events
    assert played.recommended == again.recommended
    spent = [world.images(event.ask.fidelity) for event in played.events]
    assert sum(spent) == played.events[-1].images <= told.images
    smallest = min(told.looks.values()) if name.startswith("halving") else told.looks[told.look]
    assert told.images - sum(spent) < smallest, "what a method was refused is no end of its search"
    assert played.recommended is None or told.feasible(played.recommended)
    found = judge(played, told, world)
    assert found.regret >= 0
    assert 0 <= found.volume <= 1
    assert found.by_images[-1] == pytest.approx(found.volume)
    if workers > 1:
        alone = method(name).play(brief(world, seed=3), world, 3)
        assert played.events[-1].at_seconds < alone.events[-1].at_seconds
    if name not in ("optuna-search", "nsga2"):
        assert found.wasted == 0


def test_a_method_of_ones_own_is_compared(world: World) -> None:
    played = play(MyMethod, brief(world, looks=50), world, 0)
    assert len(played.events) == 9
    comparison = Comparison((f"{__name__}:MyMethod", "random-loss"), (Setting(1.05, 10, 2),), 4, truths=("scratch-18",))
    told: list[tuple[int, int]] = []
    found = compare(Table(invented()), comparison, 1, lambda done, total: told.append((done, total)))
    assert told[-1] == (2 * 3 * 4, 2 * 3 * 4)
    (judged,) = found.truths
    lines = {line.method: line for line in judged.lines}
    assert set(lines) == set(comparison.methods)
    assert sum(line.rank for line in judged.lines) == pytest.approx(3.0)
    assert all(line.modelled == 0 for line in judged.lines)
    for line in judged.lines:
        assert line.gain.low <= line.gain.value <= line.gain.high


@pytest.mark.slow
def test_a_clear_winner_is_found_and_an_even_field_is_not() -> None:
    comparison = Comparison(("nas-tpe", "local-search-loss"), (Setting(None, 24, 1),), 10)
    found = compare(Table(invented(noise=0.02)), comparison, 1, lambda done, total: None)
    lines = found.truths[0].lines
    ours = next(line for line in lines if line.method == "nas-tpe")
    assert ours.null.value <= 0.2, "a test that errs in one of twenty searches"
    assert next(line for line in lines if line.method == "local-search-loss").regret.value < 0.5


def test_a_search_with_finalists_comes_to_its_verdict() -> None:
    """Trials and finals train by the schedule that is the truth; finals are beside the images of the brief."""
    clear = table_world(Table(invented(noise=0.02))).judged_by("inherit-9")
    told = brief_of(clear, None, "inherit-9", 24 * clear.images("inherit-9"), 2, 0)
    assert list(told.looks) == ["inherit-1", "inherit-3", "inherit-9"]
    played = House("ehvi", finalists=2)(told, clear, 0)
    assert played.final is not None
    assert played.names_winner
    assert played.recommended == played.final.about
    true = 100 * (clear.true_accuracy(played.final.about) - clear.true_accuracy(SPACE.baseline))
    assert played.final.low <= true <= played.final.high
    assert played.final.images >= 9 * clear.images("inherit-9"), "two finalists and all-add under three seeds"
    assert sum(clear.images(e.ask.fidelity) for e in played.events) <= told.images
    even = [House("ehvi", finalists=2)(told, clear.null(), n) for n in range(5)]
    assert sum(one.names_winner for one in even) <= 1
    assert all(one.final is not None and one.final.low < 0.05 for one in even)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(BenchError, match="method 'randm': expected one of nas-ehvi"):
        comparison_of(True, ["randm", "halving"])
    with pytest.raises(BenchError, match="--methods: given 1; from 2 to 20"):
        comparison_of(True, ["halving"])
    assert comparison_of(True, seeds=7).seeds == 7
    assert critical_difference(2, 20) == pytest.approx(1.96 * (1 / 20) ** 0.5)
    assert share_of([True] * 5 + [False] * 5).value == 0.5
    assert share_of([False] * 20).high == pytest.approx(0.16, abs=0.01)


def test_when_a_volume_is_reached_is_read_off_the_mean_curve() -> None:
    curves = np.array([[0.2, 0.4, 0.8], [0.4, 0.6, 0.8]])
    shares = (0.25, 0.5, 1.0)

    def reached(level: float) -> Reached:
        return reached_by(curves, shares, np.full(2, level))

    assert reached(0.5).share == pytest.approx(0.5)
    assert reached(0.65).share == pytest.approx(0.75), "half-way between two"
    assert reached(0.15).share == pytest.approx(0.125), "from nothing at no image"
    assert reached(0.8).share == pytest.approx(1.0)
    assert reached(0.81) == Reached(None, None, None)
    found = reached(0.5)
    assert (found.low, found.high) == pytest.approx((0.375, 0.625)), "of the one curve and of the other"
    apart = reached_by(curves, shares, np.array([0.0, 0.9]))
    assert apart.share == pytest.approx(0.4375)
    assert apart.high is None, "searches and what they are held against are drawn together"


@pytest.mark.parametrize("seed", range(20))
def test_a_method_reaches_its_own_level_whatever_the_order_of_the_sum(seed: int) -> None:
    curves = np.cumsum(np.random.default_rng(seed).random((50, 8)), axis=1) / 8
    assert reached_by(curves, np.linspace(0.125, 1, 8), curves[:, -1].copy()).share == pytest.approx(1.0)
