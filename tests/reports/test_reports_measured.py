"""The last stage as a report sees it: what is measured, what that takes off the front, what it says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reports_records import MakeRun, record, result

from reports import RunView
from reports.latency import latency_label, latency_note, latency_story
from reports.page import write_report
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import FinalMeasurement, Latency

LIMIT = ({"metric": "latency_ms", "bound": 1.5, "relative": True},)
TRIALS = [
    result(0, ("add",) * 3, origin="baseline", score=0.80, macs=100),
    result(1, ("se",) * 3, score=0.90, macs=120),
    result(2, ("aff",) * 3, score=0.88, macs=130),
    result(3, ("cbam",) * 3, score=0.85, macs=110),
]


def latency(relative: float, spread: float = 0.01, stable: bool = True) -> Latency:
    return Latency(relative, 1.1 * relative, relative, 1.1 * relative, 1.0, 1.0, 0.0, spread, stable, 200)


def measurement(number: int, relative: float, target: str = "this device", **how: object) -> FinalMeasurement:
    return FinalMeasurement(number, target, latency(relative, **how), {})  # type: ignore[arg-type]


def run_of(make_run: MakeRun) -> RunView:
    trials = [replace(trial, latency=latency(1.0 + 0.1 * trial.number)) for trial in TRIALS]
    return make_run(trials, LIMIT, {"macs": 100, "params": 10, "latency_ms": 1.0}, latency_target="this device")


def test_the_front_is_what_is_to_be_measured_until_all_of_it_is(make_run: MakeRun) -> None:
    view = run_of(make_run)
    assert [trial.result.number for trial in view.to_measure] == [0, 1, 3]
    for number in (0, 1, 3):
        view = view.with_measurement(measurement(number, 1.0 + 0.1 * number))
    assert view.to_measure == ()
    assert view.taken_off == ()


def test_what_is_over_leaves_the_front_and_what_it_hid_is_measured_next(make_run: MakeRun) -> None:
    view = run_of(make_run)
    for number, relative in ((0, 1.0), (1, 1.7), (3, 1.3)):
        view = view.with_measurement(measurement(number, relative))
    assert [trial.result.number for trial in view.taken_off] == [1]
    assert [trial.result.number for trial in view.front] == [2, 3, 0]
    assert [trial.result.number for trial in view.to_measure] == [2]
    assert any("took 1 candidate off the front: trial 1." in sentence for sentence in latency_story(view))


def test_the_record_keeps_measurements_of_each_target_apart(make_run: MakeRun) -> None:
    view = run_of(make_run)
    with Store.open_for_writing(view.path / FILE_NAME) as store:
        store.append_measurement(measurement(1, 1.7))
        store.append_measurement(measurement(1, 1.6))
        store.append_measurement(measurement(2, 9.0, target="another device"))
    found = RunView.load(view.path).estimated()
    assert [round(one.p50_ms, 9) for one in found.measured[1]] == [1.7, 1.6]
    assert 2 not in found.measured


def test_a_figure_too_near_to_the_budget_is_marked_with_its_interval(make_run: MakeRun, tmp_path: Path) -> None:
    view = run_of(make_run)
    for number, relative in ((0, 1.0), (1, 1.49), (3, 1.3)):
        view = view.with_measurement(measurement(number, relative, spread=0.12))
    (near,) = [trial for trial in view.front if trial.crosses]
    assert near.result.number == 1
    assert latency_note(near) == "likely 1.42 to 1.56 ms, which crosses the budget"
    assert latency_story(view)[-1] == "Too near to the budget to be told from it: trial 1."
    page = write_report(view, tmp_path / "report.html").read_text()
    assert "likely 1.42 to 1.56 ms, which crosses the budget" in page
    assert "Too near to the budget to be told from it: trial 1." in page


def test_an_unsteady_measurement_alone_neither_admits_nor_bars(make_run: MakeRun) -> None:
    view = run_of(make_run)
    view = view.with_measurement(measurement(1, 1.52, spread=0.2, stable=False))
    (trial,) = [trial for trial in view.trials if trial.result.number == 1]
    assert (trial.feasible, trial.on_front) == (None, False)
    assert trial not in view.taken_off
    assert latency_label(trial.latency) == "~1.52 ms"


def test_why_the_front_was_not_measured_is_told(tmp_path: Path) -> None:
    skipped = {"measured": 0, "skipped": "the profile is of a Jetson, this device is a CPU"}
    view = record(tmp_path / "run", TRIALS, LIMIT, final_stage=skipped)
    assert "The front was not measured: the profile is of a Jetson, this device is a CPU." in latency_story(view)
