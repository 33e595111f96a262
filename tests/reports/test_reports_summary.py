"""What the report claims: no more than the record shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports_records import MakeRun, realistic_trials, result

from reports import RunView, SelectionError, budgets, summary
from reports.selecting import SELECTORS, selections
from reports.verdict import verdict_by_estimates
from trials.trial import TrialState


def test_a_gain_is_an_estimate_with_its_interval(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.9, loss=0.4)]
    view = make_run([*trials, result(1, ["se"] * 3, score=0.9042, loss=0.39)])
    verdict, best = summary.verdict(view), view.select("best")
    assert best.result.number == 1
    assert best.estimate is not None
    assert 0 < best.estimate.gain.mean < 0.42, "shrunk"
    assert verdict.headline.startswith("Nothing is known to beat all-add, by estimate from all 2 trainings")
    assert f"{best.estimate.gain.mean:.2f} ± " in verdict.caveat
    assert "points above the all-add baseline" in verdict.caveat
    assert "Estimated from all 2 trainings" in verdict.caveat
    assert "not sure enough to be called a gain" in verdict.caveat
    assert "No architecture was trained under two seeds" in verdict.caveat
    assert "One of the 2,000 validation images is 0.05 points" in verdict.caveat


def test_a_gain_that_many_trainings_agree_on_is_called_one(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.9, loss=0.4)]
    trials += [result(i, ["add", "add", op], score=0.9, loss=0.4) for i, op in enumerate(("concat", "aff", "iaff"), 1)]
    trials += [result(4 + i, [op, "se", "se"], score=0.93, loss=0.3) for i, op in enumerate(("add", "se", "cbam"))]
    verdict = summary.verdict(make_run(trials))
    assert "beats all-add by +" in verdict.headline
    assert "better than all-add with a probability of" in verdict.caveat
    assert "not sure enough" not in verdict.caveat


def test_a_run_without_finalists_has_a_verdict_by_estimate(make_run: MakeRun) -> None:
    base = result(0, ["add"] * 3, origin="baseline", score=0.9, loss=0.4)
    close = make_run([base, result(1, ["se"] * 3, score=0.9042, loss=0.399)])
    found = verdict_by_estimates(close)
    assert found is not None
    assert (found.trial, found.decided, found.by) == (None, False, "estimate")
    assert found.text.startswith("Nothing is known to beat all-add, by estimate from all 2 trainings")
    assert found.missed == max(t.estimate.gain.high for t in close.complete if t.estimate) / 100
    trials = [base, *(result(i, ["add", "add", op], score=0.9, loss=0.4) for i, op in enumerate(("concat", "aff"), 1))]
    trials += [result(4 + i, [op, "se", "se"], score=0.93, loss=0.3) for i, op in enumerate(("add", "se", "cbam"))]
    clear = make_run(trials, folder="clear")
    won = verdict_by_estimates(clear)
    assert won is not None
    assert won.trial == clear.select("best").result.number
    assert "beats all-add by +" in won.text
    assert 0 < won.low < won.gain < won.high
    assert verdict_by_estimates(replace(clear, model=None, estimates={})) is None


def test_without_an_estimate_a_gain_is_that_of_one_seed(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.9), result(1, ["se"] * 3, score=0.92)]
    view = make_run(trials)
    bare = replace(view, model=None, estimates={})
    verdict = summary.verdict(bare)
    assert "2.00 points above" in verdict.headline
    assert "of a single seed" in verdict.caveat
    close = summary.verdict(replace(bare, results=(trials[0], result(1, ["se"] * 3, score=0.9042))))
    assert "0.42 points above the all-add baseline (90.00%)" in close.headline
    assert "is among them" in close.caveat


def test_the_ratios_are_to_the_baseline(make_run: MakeRun) -> None:
    better = result(1, ["se"] * 3, score=0.92, macs=10_815_000)
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.9), better]
    assert "at 1.03× its FLOPs and 1." in summary.verdict(make_run(trials)).caveat


def test_a_baseline_that_nothing_beats_is_named_the_best(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.95), result(1, ["se"] * 3, score=0.92)]
    verdict = summary.verdict(make_run(trials))
    assert verdict.headline.startswith("Nothing is known to beat all-add")
    assert "the largest gain that could have been missed is" in verdict.headline
    assert verdict.caveat.startswith("No architecture within the budgets had a higher accuracy")


def test_nothing_feasible_names_the_nearest(make_run: MakeRun) -> None:
    view = make_run(realistic_trials(), [{"metric": "macs", "bound": 10_000_000, "relative": False}])
    headline = summary.verdict(view).headline
    assert "No trained architecture is within the budgets (FLOPs at most 10.0M)" in headline
    assert "The nearest is trial 0: FLOPs 5.0% over budget." in headline
    assert summary.front_volume(view) == (None, "")


def test_an_empty_record_claims_nothing(make_run: MakeRun) -> None:
    assert "nothing to compare" in summary.verdict(make_run()).headline


def test_without_a_baseline_no_gain_is_stated(make_run: MakeRun) -> None:
    verdict = summary.verdict(make_run([result(1, ["se"] * 3)], [], baseline=None))
    assert "points above" not in verdict.headline
    assert "no gain can be stated" in verdict.caveat


def test_the_hypervolume_is_a_share_of_the_box(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", score=0.8, macs=10_000_000)]
    volume, box = summary.front_volume(make_run(trials, [{"metric": "macs", "bound": 2e7, "relative": False}]))
    assert volume == pytest.approx(0.8 * 0.5)
    assert box == "accuracy 0, FLOPs 20.0M"
    volume, box = summary.front_volume(make_run(trials, [], folder="unlimited"))
    assert volume == pytest.approx(0.8 * (1 - 1 / 1.1))
    assert box == "accuracy 0, FLOPs 11.0M"


def test_wall_time_leaves_out_sessions_without_an_end(run: RunView) -> None:
    first, second = run.sessions
    ended = replace(first, ended_at=first.started_at + 60)
    view = replace(run, sessions=(ended, replace(second, ended_at=None, outcome=None)))
    assert summary.wall_seconds(view) == (60, 1)
    assert summary.sessions(view)[1]["outcome"] == "no recorded end: running, or killed"
    assert summary.wall_seconds(replace(run, sessions=())) == (None, 0)


def test_what_gating_saved_is_labelled_an_estimate(run: RunView) -> None:
    tile = next(tile for tile in summary.spent(run) if "gating" in tile.label)
    assert "estimate" in tile.label
    assert "3 gated × median trial" in tile.note
    images = next(tile for tile in summary.spent(run) if tile.label == "images trained")
    assert images.value == "720k"


def test_budgets_that_lack_their_baseline_are_said_to(make_run: MakeRun) -> None:
    view = make_run([result(0, ["add"] * 3)], baseline=None)
    assert budgets.limits(view) == ()
    assert "not measured" in budgets.budget_words(view)


def test_what_misses_a_demand_is_below_it_and_what_misses_a_budget_over_it(make_run: MakeRun) -> None:
    asked = {"metric": "accuracy", "bound": 0.9, "relative": False, "at_least": True}
    trials = [
        result(0, ["concat"] * 3, score=0.81, macs=10_000), result(1, ["se"] * 3, score=0.91, macs=20_000),
        result(2, ["aff"] * 3, score=0.81, macs=20_000),
        result(3, ["cbam"] * 3, score=0.91, macs=10_000),
    ]  # fmt: skip
    view = make_run(trials, [asked, {"metric": "macs", "bound": 10_000, "relative": False}])
    assert [budgets.missed_text(t) for t in view.trials] == [
        "below what is asked", "over budget", "over budget, below what is asked", "",
    ]  # fmt: skip
    assert budgets.over_budget(view.trials[0]) == "accuracy 10.0% below what is asked"
    late = [result(1, ["se"] * 3, latency=False), result(2, ["aff"] * 3)]
    limit = {"metric": "latency_ms", "bound": 0.01, "relative": False}
    view = make_run(late, [limit], folder="late")
    assert [budgets.missed_text(t) for t in view.trials] == ["budget not known", "over budget"]


def test_a_budget_that_is_open_is_not_said_to_be_missed(make_run: MakeRun) -> None:
    view = make_run([result(1, ["se"] * 3)], [{"metric": "macs", "bound": 10_000, "relative": False}])
    (trial,) = view.trials
    open_ = replace(trial, violations={"macs": 0.1, "latency_ms": 0.2}, open=("latency_ms",))
    assert budgets.over_budget(open_) == "FLOPs 10.0% over budget"


def test_nothing_is_the_fastest_where_nothing_was_timed(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline", latency=False), result(1, ["se"] * 3, latency=False)]
    view = make_run(trials, [])
    with pytest.raises(SelectionError, match="is known to be the fastest: none within the budgets has a latency; give"):
        view.select("fastest")
    assert list(selections(view)) == ["best", "knee", "cheapest"]
    timed = make_run([*trials, result(2, ["aff"] * 3)], [], folder="timed")
    assert timed.select("fastest").result.number == 2
    assert list(selections(timed)) == list(SELECTORS)


def test_an_excess_too_small_to_print_is_not_printed_as_zero(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, TrialState.GATED, macs=10_001)]
    (trial,) = make_run(trials, [{"metric": "macs", "bound": 10_000, "relative": False}]).trials
    assert budgets.over_budget(trial) == "FLOPs less than 0.1% over budget"
