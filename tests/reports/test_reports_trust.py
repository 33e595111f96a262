"""Noise and trust of real records with planted scores."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from reports_records import OPERATORS, MakeRun, architecture, result

from reports import RunView
from reports.course import course_of
from reports.effects import effects_of
from reports.estimates import gain_text, not_told_apart
from reports.noise import Advice, advice_text, floors_of, noise_floors, recommend
from reports.page import render
from reports.summary import verdict
from reports.trust import estimate_text, trust_json, trust_of, trust_story
from reports.verdict import verdict_by_estimates
from search_spaces import Architecture
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.record.training import Training
from trials.trial import TrialState

#: Epochs of the run's trials, and a configuration that says so.
SHORT, LONG = 3, 12
CONFIG = {"space": "resnet8", "training": {"epochs": SHORT}, "trials": 8}
NETS = [architecture(ops) for ops in [(op,) * 3 for op in OPERATORS] + [("se", "aff", "add"), ("aff", "se", "add")]]
#: Planted accuracies, one for each network.
TRUE = [0.80, 0.81, 0.802, 0.83, 0.822, 0.815, 0.806, 0.827]
TRIALS = [
    result(i, [c.op for c in net.choices.values()], score=true, loss=2 - true, epochs=SHORT,
           origin="baseline" if i == 0 else "sampler")
    for i, (net, true) in enumerate(zip(NETS, TRUE, strict=True))
]  # fmt: skip


def repeat(net: Architecture, seed: int, epochs: int, accuracy: float, seconds: float = 10.0) -> Training:
    return Training(net, seed, epochs, score=accuracy, loss=2 - accuracy, train_seconds=seconds)


def planted_noise(epochs: int = SHORT, seeds: int = 5, noise: float = 0.0005) -> list[Training]:
    """Of three networks: seeds move all by points, each on its own by `noise`."""
    rng = random.Random(0)
    common = [0.0, *(rng.gauss(0, 0.02) for _ in range(seeds - 1))]
    return [
        repeat(net, seed, epochs, TRUE[i] + common[seed] + (rng.gauss(0, noise) if seed else 0.0))
        for i, net in enumerate(NETS[:3])
        for seed in range(seeds)
        if seed or epochs != SHORT  # seed 0 at the trials' fidelity is the trials themselves
    ]


def with_repeats(view: RunView, repeats: list[Training], **meta: Any) -> RunView:
    with Store.open_for_writing(view.path / FILE_NAME) as store:
        for one in repeats:
            store.append_training(one)
        store.put(meta)
    return RunView.load(view.path).estimated()


@pytest.fixture
def searched(make_run: MakeRun) -> RunView:
    return make_run(TRIALS, constraints=(), config=CONFIG)


def test_a_run_whose_noise_was_never_measured_says_so(searched: RunView) -> None:
    assert noise_floors(searched) == ()
    assert "nas noise" in trust_story(searched)[-1]
    assert trust_of(searched) is None
    assert "nas noise" in render(searched)
    assert "how much those move a score is assumed" in verdict(searched).caveat


def test_the_noise_of_a_run_is_of_its_trials_and_its_repeats(searched: RunView) -> None:
    failed = Training(NETS[3], 1, SHORT, error="NonFiniteLoss: training loss is nan")
    view = with_repeats(searched, [*planted_noise(), *planted_noise(1), failed])
    one, three = noise_floors(view)
    assert (one.epochs, three.epochs) == (1, SHORT)
    assert (three.seeds, three.architectures) == (5, 3)
    assert three.score.raw_sd > 0.01 > 10 * three.score.paired_sd
    assert three.score.paired_sd == pytest.approx(0.0005 * 2**0.5, rel=0.5)
    assert three.loss.paired_sd == pytest.approx(three.score.paired_sd)
    assert three.score.spread_sd == pytest.approx(0.0053, rel=0.1)


def test_what_is_not_there_under_common_seeds_does_not_count() -> None:
    repeats = planted_noise(7)
    without = [r for r in repeats if not (r.architecture == NETS[1] and r.seed == 2)]
    (floor,) = floors_of([*without, repeat(NETS[4], 0, 7, 0.5)], NETS[0])
    assert (floor.seeds, floor.architectures) == (4, 3)
    few = [r for r in repeats if not (r.architecture == NETS[1] and r.seed > 1)]
    assert [(f.seeds, f.architectures) for f in floors_of(few, NETS[0])] == [(5, 2)]
    assert floors_of([r for r in repeats if r.architecture != NETS[0]], NETS[0]) == ()
    (coarse,) = floors_of([dataclasses.replace(r, correct=5, images=10) for r in repeats], NETS[0])
    assert coarse.score.raw_sd == pytest.approx(0.1 / 12**0.5)


def test_seeds_that_only_the_baseline_has_take_no_other_architecture_away() -> None:
    repeats = planted_noise(7)
    (before,) = floors_of(repeats, NETS[0])
    (after,) = floors_of([*repeats, *(repeat(NETS[0], seed, 7, 0.8) for seed in (7, 8, 9))], NETS[0])
    assert (after.seeds, after.architectures, after.score.paired_sd) == (5, 3, before.score.paired_sd)
    assert (before.score.raw_df, after.score.raw_df) == (4, 7)
    # Fewer seeds of more architectures, where these tell more.
    few = [repeat(net, seed, 7, 0.8 + seed / 100) for net in NETS[3:] for seed in (0, 1, 2)]
    (floor,) = floors_of([*repeats, *few], NETS[0])
    assert (floor.seeds, floor.architectures) == (3, 8)


def test_a_gain_over_all_add_that_was_not_trained_has_no_figure(make_run: MakeRun) -> None:
    failed = dataclasses.replace(
        TRIALS[0], state=TrialState.FAILED, score=None, loss=None, error="NonFiniteLoss", correct=None, images=None
    )
    view = make_run([failed, *TRIALS[1:]], constraints=(), config=CONFIG).estimated()
    best = view.front[0]
    assert best.estimate is not None
    assert (
        best.to_json()["estimate"] | {"gain_points": None, "better_than_baseline": None} == best.to_json()["estimate"]
    )
    assert (best.gain, best.better, gain_text(best)) == (None, None, "")
    said = " ".join([verdict(view).headline, verdict(view).caveat, *trust_story(view)])
    assert "no gain can be stated" in said
    assert "points on all-add" not in said
    assert "better than it" not in said


def test_who_failed_a_longer_look_is_neither_the_best_so_far_nor_what_was_missed(make_run: MakeRun) -> None:
    rungs = CONFIG | {"rungs": [SHORT, LONG]}
    view = make_run(TRIALS, constraints=(), config=rungs).estimated()
    best = view.front[0]
    failing = with_repeats(
        view, [Training(best.result.architecture, best.result.seed, LONG, error="NonFiniteLoss: training loss is nan")]
    )
    assert best.result.number not in [t.result.number for t in failing.able]
    assert best.result.number in [t.result.number for t in failing.feasible]
    assert max(step.best for step in course_of(failing)) == failing.front[0].quality
    found = effects_of(failing)
    assert found is not None
    assert found.best == failing.front[0].result.number
    said = verdict_by_estimates(failing)
    assert said is not None
    assert said.missed == max(t.gain.high for t in failing.able if t.gain is not None) / 100


def test_what_cannot_be_told_apart_is_said(searched: RunView) -> None:
    view = with_repeats(searched, planted_noise(noise=0.001))
    best = view.select("best").result.number
    assert TRUE[best] == max(TRUE)
    (told,) = [s for s in trust_story(view) if s.startswith("Estimated from all")]
    assert f"trial {best} is best" in told
    alike = not_told_apart(view)
    assert alike is not None
    assert all(TRUE[best] - TRUE[t.result.number] < 0.02 for t in alike)
    assert trust_json(view)["not_distinguishable_from_best"] == [t.result.number for t in alike]
    noisy = with_repeats(view, [r for r in planted_noise(seeds=9, noise=0.05) if r.seed > 4])
    more = not_told_apart(noisy)
    assert more is not None
    assert len(more) > len(alike)
    assert any(s.startswith("Not told apart from it: trials") for s in trust_story(noisy))
    assert "not sure enough to be called a gain" in verdict(noisy).caveat


def test_without_a_second_seed_the_noise_is_said_to_be_assumed(searched: RunView) -> None:
    assert "No architecture was trained under two seeds" in " ".join(trust_story(searched))
    assert "No architecture was trained under two seeds" not in " ".join(
        trust_story(with_repeats(searched, planted_noise()))
    )


def plan(seeds: list[int], short_seed: int = 0) -> dict[str, Any]:
    sample = [net.key for net in NETS]
    return {"sample": sample, "epochs": LONG, "seeds": seeds, "fidelities": [SHORT], "short_seed": short_seed}


def long_ones(order: list[int], seeds: tuple[int, ...] = (1, 2), noise: float = 0.0) -> list[Training]:
    """Long trainings that rank the networks as `order` does: the place of each, the best first."""
    rng = random.Random(1)
    return [
        repeat(NETS[i], seed, LONG, 0.95 - 0.01 * place + rng.gauss(0, noise), 40.0)
        for seed in seeds
        for place, i in enumerate(order)
    ]


def test_the_agreement_is_that_of_the_ranks(searched: RunView) -> None:
    ranked = sorted(range(8), key=lambda i: -TRUE[i])
    swapped = [ranked[1], ranked[0], *ranked[2:]]  # one of 28 pairs is the other way round
    view = with_repeats(searched, long_ones(swapped, noise=1e-4), trust=plan([1, 2]))
    trust = trust_of(view)
    assert (trust.architectures, trust.missing, trust.pairs) == (8, 0, 28)
    assert trust.distinguishable_pairs == 28
    by_accuracy = next(a for a in trust.agreements if a.ranked_by == a.held_against == "score" and not a.ceiling)
    assert by_accuracy.kendall.value == pytest.approx(26 / 28)
    assert by_accuracy.kendall.low < 26 / 28 <= by_accuracy.kendall.high
    assert by_accuracy.recall.value == 1.0
    assert by_accuracy.k == 2
    assert by_accuracy.regret == pytest.approx(0.01, abs=3e-4)
    assert by_accuracy.cost_share == pytest.approx(sum(t.train_seconds for t in TRIALS) / 8 / 40)
    ceiling = [a for a in trust.agreements if a.ceiling]
    assert [a.kendall.value for a in ceiling] == [1.0, 1.0]
    assert any(f"Kendall τ of {estimate_text(by_accuracy.kendall)}" in sentence for sentence in trust_story(view))


def test_what_is_not_trained_yet_is_missing(searched: RunView) -> None:
    view = with_repeats(searched, long_ones(list(range(8)))[:-2], trust=plan([1, 2]))
    trust = trust_of(view)
    assert (trust.wanted, trust.missing, trust.architectures) == (24, 2, 6)
    assert any("2 are missing or failed" in sentence for sentence in trust_story(view))
    few = trust_of(dataclasses.replace(view, beside=view.beside[:10]))
    assert (few.architectures, few.agreements, few.distinguishable_pairs) == (2, (), None)


def test_the_report_shows_it_and_lets_nothing_through(make_run: MakeRun, tmp_path: Path) -> None:
    view = make_run(TRIALS, constraints=(), config=CONFIG, folder="<b>run</b>")
    advice = Advice(7200.0, 20, 2, SHORT, 2, 3600.0, 0.004, True).to_json()
    view = with_repeats(view, [*planted_noise(), *long_ones(list(range(8)))], trust=plan([1, 2]), noise_advice=advice)
    page = render(view)
    for text in ("baseline SD", "3 × 5", "Short trainings beside long ones", "score at 12", "2 seeds a candidate"):
        assert text in page, text
    assert "<b>run</b>" not in page


def test_the_advice_fits_the_budget_and_prefers_signal_over_silence() -> None:
    """At one epoch nothing is learnt: no noise, and no spread. The longer fidelity is worth its time."""
    silent = [repeat(net, seed, 1, 0.1 + 1e-5 * seed, 1.0) for net in NETS[:3] for seed in range(3)]
    floors = floors_of([*silent, *planted_noise(4)], NETS[0])
    advice = recommend(floors, 60.0, 4, 2)
    assert (advice.epochs, advice.seeds, advice.seconds) == (4, 3, 60.0)
    assert "resolve" in advice_text(advice.to_json())
    short_of_time = recommend(floors, 19.0, 4, 2)
    assert short_of_time.epochs == 1
    nothing = recommend(floors, 1.0, 4, 2)
    assert (nothing.epochs, nothing.seconds) == (None, 2.0)
    assert "No measured fidelity fits 1.0 s" in advice_text(nothing.to_json())
    blind = recommend(floors_of(silent, NETS[0]), 60.0, 4, 2)
    assert (blind.epochs, blind.signal) == (1, False)
    assert recommend((), 60.0, 4, 2) is None


def test_a_training_is_whole() -> None:
    with pytest.raises(ValueError, match="either a score or an error"):
        Training(NETS[0], 0, 1)
    with pytest.raises(ValueError, match="loss is nan"):
        Training(NETS[0], 0, 1, score=0.5, loss=float("nan"))
    failed = result(4, ("se", "se", "se"), TrialState.FAILED, error="out of memory")
    assert Training.of(failed).error == "out of memory"
