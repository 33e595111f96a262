"""Estimates: calibrated where the truth is planted, shrunk where little is known, the same whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from search_spaces import Architecture, FusionChoice
from trials.estimates.estimates import FITTED, Estimates, NoEstimate
from trials.estimates.kernel import PARTS, parts
from trials.estimates.looks import Looks
from trials.estimates.model import Conditioned, Model
from trials.record.training import Training
from trials.trial import Failure

POINTS = ("a", "b", "c")
OPERATORS = ("add", "concat", "se", "cbam")


def architecture(operators: Sequence[str]) -> Architecture:
    chosen = zip(POINTS, operators, strict=True)
    return Architecture("toy", {point: FusionChoice(op, 4 if op in ("se", "cbam") else None) for point, op in chosen})


EVERY = [architecture(operators) for operators in product(OPERATORS, repeat=3)]
ADD = EVERY[0]
TARGET = ("inherit:x", 3)


class Planted:
    """True scores in points and looks at them: a gain for each operator at each point, and something of their own."""

    def __init__(self, seed: int, spread: float = 0.5, own: float = 0.15, noise: float = 0.1) -> None:
        self._noise = noise
        rng = np.random.default_rng(seed)
        gains = {(p, op): spread * rng.standard_normal() / 3**0.5 for p in POINTS for op in OPERATORS[1:]}
        self.true = {
            a.key: 70 + sum(gains.get((p, c.op), 0.0) for p, c in a.choices.items()) + own * rng.standard_normal()
            for a in EVERY
        }
        self._flattery = {a.key: 0.002 * rng.standard_normal() for a in EVERY}
        self._rng, self._shifts = rng, rng.standard_normal(8)

    def look(self, architecture: Architecture, seed: int, epochs: int = 3) -> Training:
        score = self.true[architecture.key] + 0.4 * self._shifts[seed] + self._noise * self._rng.standard_normal()
        loss = 1 - 0.01 * (self.true[architecture.key] - 70) - self._flattery[architecture.key]
        loss += 0.004 * self._shifts[seed] + 0.0005 * self._rng.standard_normal()
        return training(architecture, seed, score / 100, loss, epochs)

    def looks(self, count: int, repeated: int = 2) -> list[Training]:
        order = [ADD, *random.Random(0).sample(EVERY[1:], count - 1)]
        repeats = [self.look(a, seed) for a in order[:repeated] for seed in (1, 2)]
        return [*(self.look(a, 0) for a in order), *repeats]


def training(architecture: Architecture, seed: int, score: float, loss: float, epochs: int = 3) -> Training:
    return Training(architecture, seed, epochs, TARGET[0], score=score, loss=loss, images=20_000, correct=1)


def covered(planted: Planted, trainings: Sequence[Training], asked: Sequence[Architecture]) -> list[bool]:
    found = Estimates(trainings, ADD, TARGET)(asked)
    true = [planted.true[a.key] - planted.true[ADD.key] for a in asked]
    return [e.gain.low <= gain <= e.gain.high for e, gain in zip(found, true, strict=True)]


@pytest.mark.parametrize("count", [12, 40])
def test_intervals_cover_the_true_gains(count: int) -> None:
    worlds = [Planted(seed) for seed in range(12)]
    share = np.mean([np.mean(covered(world, world.looks(count), EVERY[1:])) for world in worlds])
    assert 0.84 <= share <= 0.98, "90 % intervals, of trained architectures and of others"


def test_an_estimate_is_nearer_to_the_truth_than_a_score() -> None:
    of_estimates, of_scores = [], []
    for seed in range(8):
        world = Planted(seed, spread=0.3, own=0.05, noise=0.15)
        looks = world.looks(30)
        first = [t for t in looks if t.seed == 0]
        found = Estimates(looks, ADD, TARGET)([t.architecture for t in first])
        base = first[0]
        for t, estimate in zip(first[1:], found[1:], strict=True):
            true = world.true[t.architecture.key] - world.true[ADD.key]
            of_estimates.append((estimate.gain.mean - true) ** 2)
            of_scores.append((100 * ((t.score or 0) - (base.score or 0)) - true) ** 2)
    assert np.mean(of_estimates) < 0.8 * np.mean(of_scores)


def test_where_all_are_equal_no_winner_is_named() -> None:
    named = 0
    for seed in range(30):
        world = Planted(seed, spread=0.0, own=0.0)
        world._flattery = dict.fromkeys(world.true, 0.0)
        looks = world.looks(16)
        found = Estimates(looks, ADD, TARGET)([t.architecture for t in looks])
        named += max(found, key=lambda e: e.gain.mean).better >= 0.975
    assert named <= 2


def test_what_a_seed_does_to_all_alike_is_taken_out() -> None:
    """Half of them were trained under a seed that moves all by two points."""
    trainings = [training(a, 0, 0.70, 1.0) for a in EVERY[:8]] + [training(ADD, 1, 0.72, 0.98)]
    trainings += [training(a, 1, 0.72, 0.98) for a in EVERY[8:16]]
    found = Estimates(trainings, ADD, TARGET)(EVERY[:16])
    assert max(abs(e.gain.mean) for e in found) < 0.1


def test_the_lucky_are_shrunk_and_the_loss_tells() -> None:
    """Two score alike, a third of a point above all-add; the loss of one agrees, as it does with all others' scores."""
    rng = np.random.default_rng(0)
    qualities = 0.3 * rng.standard_normal(20)
    scores, losses = 70 + qualities + 0.15 * rng.standard_normal(20), 1 - 0.02 * qualities
    others = [training(a, 0, s / 100, loss) for a, s, loss in zip(EVERY[5:25], scores, losses, strict=True)]
    lucky, good = training(EVERY[1], 0, 0.703, 1.0), training(EVERY[2], 0, 0.703, 0.994)
    base = training(ADD, 0, 0.70, 1.0)
    of_lucky, of_good = Estimates([base, lucky, good, *others], ADD, TARGET)([EVERY[1], EVERY[2]])
    assert of_lucky.gain.mean < of_good.gain.mean
    assert of_lucky.better < of_good.better


def test_longer_looks_are_estimated_from_shorter_ones() -> None:
    world = Planted(3)
    short = world.looks(30)
    long = [replace(world.look(a, 0), epochs=9) for a in (ADD, *EVERY[20:24])]
    asked = [t.architecture for t in short if t.seed == 0]
    found = Estimates([*short, *long], ADD, (TARGET[0], 9))(asked)
    true = [world.true[a.key] for a in asked]
    assert np.corrcoef([e.gain.mean for e in found], true)[0, 1] > 0.7


def test_all_add_is_no_better_than_itself() -> None:
    (found,) = Estimates(Planted(0).looks(6), ADD, TARGET)([ADD])
    assert (found.gain.mean, found.gain.low, found.gain.high, found.better) == (0, 0, 0, 0.5)
    assert found.score.low < found.score.mean < found.score.high


def test_a_score_stays_within_what_it_can_be() -> None:
    (found,) = Estimates([training(ADD, 0, 1.0, 0.01), training(EVERY[1], 0, 1.0, 0.01)], ADD, TARGET)([ADD])
    assert found.score.low < found.score.mean <= found.score.high == 100


def test_probabilities_against_another_one_add_up() -> None:
    estimates = Estimates(Planted(1).looks(12), ADD, TARGET)
    one, other = EVERY[7], EVERY[40]
    forth, back = estimates.better_than([one], other)[0], estimates.better_than([other], one)[0]
    assert forth + back == pytest.approx(1)
    assert estimates.better_than([one], one)[0] == pytest.approx(0.5)
    assert list(estimates.better_than([], one)) == []
    assert estimates([]) == []
    assert estimates.better_than([one], ADD)[0] == pytest.approx(estimates([one])[0].better)


def test_the_order_of_arrival_does_not_matter() -> None:
    looks = Planted(2).looks(20)
    shuffled = random.Random(1).sample(looks, len(looks))
    assert Estimates(looks, ADD, TARGET)(EVERY) == Estimates(shuffled, ADD, TARGET)(EVERY)


def test_of_very_many_trainings_the_repeated_and_the_best_are_conditioned_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trials.estimates.estimates.CONDITIONED", 24)
    monkeypatch.setattr("trials.estimates.estimates.AT_ONCE", 10)
    world = Planted(6)
    looks = world.looks(60, repeated=2)
    estimates = Estimates(looks, ADD, TARGET)
    assert (estimates.looks.trainings, estimates.scored) == (24, len(looks))
    kept = {a.key for a in estimates.looks.architectures}
    assert {t.architecture.key for t in looks if t.seed} <= kept, "which were trained under several seeds"
    best = max((t for t in looks if t.seed == 0), key=lambda t: t.score or 0)
    assert best.architecture.key in kept
    worst_half = sorted((t for t in looks if t.seed == 0), key=lambda t: t.score or 0)[:30]
    assert kept & {t.architecture.key for t in worst_half}, "not the good ones alone"
    found = estimates(EVERY)
    assert len(found) == len(estimates.better_than(EVERY, ADD)) == len(EVERY)
    alone = [estimates([a])[0].gain.mean for a in EVERY[1:]]
    assert [e.gain.mean for e in found[1:]] == pytest.approx(alone)
    assert np.mean(covered(world, looks, EVERY[1:])) > 0.75


def test_many_trainings_are_all_conditioned_on() -> None:
    """Parameters are fitted to some of them; what is known of a single one is not lost."""
    world = Planted(4)
    many = [world.look(a, seed) for a in EVERY for seed in (0, 1, 2)]
    assert len(many) > FITTED
    estimates = Estimates(many, ADD, TARGET)
    assert estimates.looks.trainings == len(many)
    assert estimates.looks.telling(FITTED).trainings <= len(many)
    assert len(set(estimates.looks.telling(FITTED).training.tolist())) == FITTED
    found = estimates(EVERY[1:])
    assert max(e.gain.high - e.gain.low for e in found) < 1.0
    assert np.mean(covered(world, many, EVERY[1:])) > 0.8


def test_too_little_to_estimate_from_is_said() -> None:
    one, failed = training(ADD, 0, 0.7, 1.0), Training(EVERY[1], 0, 3, TARGET[0], error="nan", failure=Failure.DIVERGED)
    with pytest.raises(NoEstimate, match="takes trainings of two architectures, and 1 has a score"):
        Estimates([one, failed], ADD, TARGET)
    with pytest.raises(NoEstimate, match="and none has a score"):
        Estimates([failed], ADD, TARGET)
    with pytest.raises(NoEstimate, match="no training of 9 epochs from inherit has a score"):
        Estimates([one, training(EVERY[1], 0, 0.7, 1.0)], ADD, ("inherit:x", 9))


def test_two_trainings_give_wide_intervals() -> None:
    estimates = Estimates([training(ADD, 0, 0.70, 1.0), training(EVERY[1], 0, 0.705, 0.99)], ADD, TARGET)
    (found,) = estimates([EVERY[1]])
    assert 0 < found.gain.mean <= 0.5
    assert found.gain.high - found.gain.low > 0.2
    assert not estimates.seeds_seen


def test_scores_without_losses_are_enough() -> None:
    bare = [replace(t, loss=None) for t in Planted(0).looks(8)]
    assert Estimates(bare, ADD, TARGET)(EVERY[:3])


def test_the_kernel_is_one_of_itself_and_positive() -> None:
    among = parts(EVERY, EVERY)
    assert among.shape == (len(PARTS), len(EVERY), len(EVERY))
    for part in among:
        assert np.diag(part) == pytest.approx(1.0)
        assert np.linalg.eigvalsh(part).min() > -1e-9


@pytest.fixture
def model() -> Model:
    world = Planted(5, noise=0.02)
    trainings = [*world.looks(6, repeated=0), *(replace(world.look(a, 0), epochs=9) for a in EVERY[1:4])]
    looks = Looks.of(trainings, TARGET)
    return Model(looks, parts(looks.architectures, looks.architectures))


def test_the_gradient_is_that_of_the_density(model: Model) -> None:
    theta = model.prior.mean + 0.3 * np.random.default_rng(0).standard_normal(model.layout.size)
    _, gradient = model.log_posterior(theta)
    steps = 1e-5 * np.eye(model.layout.size)
    measured = [(model.log_posterior(theta + s)[0] - model.log_posterior(theta - s)[0]) / 2e-5 for s in steps]
    assert gradient == pytest.approx(measured, rel=1e-4, abs=1e-4)


def test_the_information_is_that_of_the_covariances_derivatives(model: Model) -> None:
    """Fisher's: ½ tr(K⁻¹ ∂K K⁻¹ ∂K), with derivatives by differences."""
    theta = model.prior.mean + 0.1
    inverse = np.linalg.inv(model.covariance(theta))
    steps = 1e-5 * np.eye(model.layout.size)
    turned = [inverse @ (model.covariance(theta + s) - model.covariance(theta - s)) / 2e-5 for s in steps]
    told = np.array([[0.5 * np.trace(a @ b) for b in turned] for a in turned]) + np.diag(1 / model.prior.sd**2)
    assert model.information(theta) == pytest.approx(told, rel=1e-3, abs=1e-3)


def test_without_noise_a_figure_is_given_back(model: Model) -> None:
    theta = model.prior.mean.copy()
    theta[model.layout.noise] = theta[model.layout.shift] = -12.0
    known = Conditioned.on(model, theta)
    means, _ = known.scores(parts(model.looks.architectures, model.looks.architectures))
    seen = {
        a: f
        for a, f, o in zip(model.looks.architecture, model.looks.figures, model.looks.output, strict=True)
        if o == 0
    }
    assert [means[a] for a in seen] == pytest.approx(list(seen.values()), abs=0.6)
