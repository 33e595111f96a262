"""What the model says an operator is worth, and how a run came to where it is."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from reports_records import POINTS, MakeRun, architecture, realistic_trials, result

from reports import RunView
from reports.course import course_of
from reports.effects import effects_of
from reports.front_text import front_lines
from reports.summary import front_volume
from reports.timeline import timeline_of
from trials.estimates.estimates import Interval
from trials.trial import TrialState

WORTH = {"add": 0.0, "se": 0.02, "cbam": -0.02}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """Se is worth two points at layer3.0 and cbam takes two there; nothing matters elsewhere."""
    from reports_records import record

    noise, trials = random.Random(1), []
    for number in range(27):
        ops = [("add", "se", "cbam")[number // 3**place % 3] for place in range(3)]
        score = 0.8 + WORTH[ops[2]] + noise.gauss(0, 0.0005)
        origin = "baseline" if number == 0 else "sampler"
        trials.append(result(number, ops, origin=origin, score=score, loss=1.2 - score, macs=1000 + number))
    return record(tmp_path_factory.mktemp("planted") / "run", trials, [])


def test_effects_are_where_they_were_planted(planted: RunView) -> None:
    found = effects_of(planted)
    assert found is not None
    worth = {(e.point, e.choice.op): e.worth.gain for e in found.effects}
    assert set(worth) == {(point, op) for point in POINTS for op in ("se", "cbam")}
    assert worth["layer3.0", "se"].low > 1.0
    assert worth["layer3.0", "se"].mean == pytest.approx(2.0, abs=0.4)
    assert worth["layer3.0", "cbam"].high < -1.0
    for (point, _), gain in worth.items():
        if point != "layer3.0":
            assert gain.low < 0 < gain.high
            assert abs(gain.mean) < 0.3
    assert all(e.n == 9 for e in found.effects)
    early, late = found.halves
    assert (early.points, late.points) == (POINTS[:1], POINTS[1:])
    assert late.worth.gain.mean > 1.0 > abs(early.worth.gain.mean)


def test_a_sum_of_one_difference_is_the_gain_that_is_estimated(planted: RunView) -> None:
    model, base = planted.model, planted.baseline_architecture
    assert model is not None
    fitted = model.fitted
    other = architecture(("se", "cbam", "se"))
    (summed,), (alone,) = fitted.combinations([[(other, 1.0), (base, -1.0)]]), fitted([other])
    for name in ("mean", "low", "high"):
        assert getattr(summed.gain, name) == pytest.approx(getattr(alone.gain, name), abs=1e-6)
    assert summed.better == pytest.approx(alone.better, abs=1e-6)
    (nothing,) = model.fitted.combinations([[(other, 1.0), (other, -1.0)]])
    assert nothing.gain == Interval(0.0, 0.0, 0.0)


def test_what_is_not_estimated_has_no_effects(run: RunView) -> None:
    assert effects_of(replace(run, model=None, estimates={})) is None


def test_the_course_ends_where_the_run_is(run: RunView) -> None:
    steps = course_of(run)
    volume, _ = front_volume(run)
    assert steps[-1].trainings == len(run.complete)
    assert steps[-1].volume == pytest.approx(volume)
    assert steps[-1].best == max(t.quality or 0.0 for t in run.feasible)
    volumes = [step.volume or 0.0 for step in steps]
    assert volumes == sorted(volumes)
    assert [step.best for step in steps] == sorted(step.best for step in steps)
    assert steps[-1].worker_hours == pytest.approx(sum(t.result.seconds for t in run.complete) / 3600)


def test_nothing_within_the_budgets_has_no_course(make_run: MakeRun) -> None:
    assert course_of(make_run(realistic_trials(), [{"metric": "macs", "bound": 1.0, "relative": False}])) == []
    assert course_of(make_run(folder="empty")) == []


def test_no_two_trials_of_a_lane_overlap(run: RunView) -> None:
    begun = run.sessions[0].started_at
    moments = {t.result.number: begun + 20 * (1 + t.result.number) for t in run.trials}
    unnamed = tuple(replace(one, environment={}) for one in run.results)
    lanes, bars = timeline_of(replace(run, moments=moments, results=unnamed))
    assert {bar.number for bar in bars} == {t.result.number for t in run.trials if t.result.seconds > 0}
    assert {bar.lane for bar in bars} == set(range(len(lanes)))
    assert len(lanes) > 1
    assert all(name.startswith("host not known, ") for name in lanes)
    for lane in range(len(lanes)):
        mine = sorted((bar.start, bar.end) for bar in bars if bar.lane == lane)
        assert all(a[1] <= b[0] + 0.6 for a, b in pairwise(mine))
    assert timeline_of(replace(run, sessions=())) == ([], [])


def test_lanes_are_those_of_the_workers_that_the_record_names(make_run: MakeRun) -> None:
    where = [("a", 1), ("b", 7), ("a", 2), ("a", 1), ("a", 3), ("a", 2)]
    ops = ("add", "se", "aff", "cbam", "iaff", "concat")
    trials = [
        result(i, (op,) * 3, seconds=9.0, environment={"host": host, "process": process})
        for i, (op, (host, process)) in enumerate(zip(ops, where, strict=True))
    ]
    run = make_run(trials)
    begun = run.sessions[0].started_at
    ends = (10, 10, 10.2, 20, 40, 20.2)
    lanes, bars = timeline_of(replace(run, moments={i: begun + end for i, end in enumerate(ends)}))
    assert lanes == ["a, 1", "a, 2", "b, 1"]
    assert {bar.number: (lanes[bar.lane], bar.process) for bar in bars} == {
        0: ("a, 1", "1"), 3: ("a, 1", "1"), 2: ("a, 2", "2"), 5: ("a, 2", "2"), 1: ("b, 1", "7"),
        4: ("a, 1", "3"),  # began when process 1 had ended
    }  # fmt: skip


def test_pairs_of_what_was_tried_are_not_of_the_best_alone(run: RunView) -> None:
    found = effects_of(run)
    assert found is not None
    assert found.tried
    there = {(point, choice.op) for t in run.complete for point, choice in t.result.architecture.choices.items()}
    for pair in (*found.tried, *found.pairs):
        assert pair.points[0] != pair.points[1]
        assert all((point, choice.op) in there for point, choice in zip(pair.points, pair.choices, strict=True))
        assert pair.n == len({
            t.result.architecture.key for t in run.complete
            if all(t.result.architecture.choices[p].op == c.op for p, c in zip(pair.points, pair.choices, strict=True))
        })  # fmt: skip
    best = next(t for t in run.trials if t.result.number == found.best).result.architecture.choices
    assert any(best[p].op != c.op for pair in found.tried for p, c in zip(pair.points, pair.choices, strict=True))


def test_the_front_is_drawn_in_text(run: RunView) -> None:
    lines = front_lines(run, width=80)
    assert max(map(len, lines)) <= 80
    drawn = "\n".join(lines)
    assert "★ all-add" in drawn
    assert 1 <= drawn.count("●") <= 1 + len(run.front)
    assert "x outside the budgets" in drawn
    assert "□" not in drawn
    assert front_lines(replace(run, results=run.results[:1], model=None, estimates={})) == []


def test_a_trial_of_which_a_budget_is_not_known_is_drawn_as_such(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline"), result(1, ["se"] * 3, latency=False)]
    view = make_run([*trials, result(2, ["aff"] * 3)], [{"metric": "latency_ms", "bound": 0.01, "relative": False}])
    assert [t.feasible for t in view.trials] == [False, None, False]
    drawn = "\n".join(front_lines(view))
    assert "x outside the budgets   □ not known   ★ all-add" in drawn
    assert drawn.count("□") == drawn.count("x") == 2


def test_equal_values_are_drawn_in_text(make_run: MakeRun) -> None:
    trials = [result(i, [op] * 3, score=0.5, macs=7) for i, op in enumerate(("add", "se"))]
    assert front_lines(make_run(trials, []))
    gated = [result(0, ["iaff"] * 3, TrialState.GATED)]
    assert front_lines(make_run(gated, folder="gated")) == []
