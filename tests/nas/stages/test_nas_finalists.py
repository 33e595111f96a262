"""The end of a search: finalists trained anew and judged on images that it never saw. Real small trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import kill_when, nas_program, start_nas
from scenes_folder import cells

import nas
from nas.engines.interruption import Interrupted, Interruption
from nas.planning.planner import Planner
from nas.planning.spent import unreached
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.studies.finalists import find_finalists
from nas.terminal.trainings import narrator
from nas.tools.reprice import reprice, write
from nas.trainings.run_record import RunRecord
from reports import RunView, summary
from reports.drawing import Palette
from reports.finalists import FinalPlan, chosen, finals_of
from reports.noise import noise_floors
from reports.page import write_report
from reports.sections import architectures
from reports.status import status_json
from reports.verdict import finals_json, finals_story, verdict_of
from trials.budgets.constraints import Constraint
from trials.record.images import final_images_path, read_images
from trials.record.training import Training

SETTINGS: dict[str, Any] = {
    "space": "resnet8", "operators": ["add", "concat", "se"], "train_images": 128, "val_fraction": 0.02, "trials": 3,
    "engine": "local", "export": "none", "finalists": 1, "finalist_seeds": 2, "finalist_max_seeds": 3,
    "training": {"epochs": 1, "batch_size": 32, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return nas.search(**SETTINGS | {"out": str(tmp_path_factory.mktemp("finals") / "run")}).view


def test_a_search_ends_in_a_verdict(finished: RunView) -> None:
    finals, verdict = finals_of(finished), verdict_of(finished)
    assert finals is not None
    assert verdict is not None
    assert finished.finished
    assert [one.trial.result.number for one in finals.rivals] == [t.result.number for t in chosen(finished, 1)]
    assert finals.control.trial.result.origin == "baseline"
    assert "2,000 test images that the search never saw" in verdict.text
    assert set(verdict.to_json()) >= {"text", "decided", "trial", "gain", "low", "high", "missed"}
    assert verdict.low is not None
    assert verdict.low <= verdict.gain <= verdict.high  # type: ignore[operator]
    seeds = set(finals.control.trainings)
    assert {1, 2} <= seeds <= {1, 2, 3}
    assert finished.config["seed"] not in seeds
    assert summary.verdict(finished).headline == f"{verdict.text}."
    assert summary.verdict(finished).caveat.startswith("When it was selected: ")
    assert status_json(finished, active=False)["verdict"] == verdict.to_json()


def test_finalists_are_rows_of_the_one_table_and_nobodys_looks(finished: RunView) -> None:
    assert finished.beside == ()
    assert all(training.final and training.images == 2000 for training in finished.finals)
    assert not any(training.final for training in finished.trainings)
    assert noise_floors(finished) == ()
    for training in finished.finals:
        readings = read_images(final_images_path(finished.path, training))
        assert int(readings.right.sum()) == training.correct
        assert readings.tempered is not None
        assert float(readings.losses.astype(float).mean()) == pytest.approx(training.loss, rel=1e-3)
        assert readings.tempered.astype(float).mean() <= readings.losses.astype(float).mean() + 1e-3


def test_trials_do_not_depend_on_what_follows_them(finished: RunView, tmp_path: Path) -> None:
    plain = nas.search(**SETTINGS | {"out": str(tmp_path / "run"), "finalists": "none"}).view
    assert [(r.architecture.key, r.score) for r in plain.results] == [
        (r.architecture.key, r.score) for r in finished.results
    ]
    assert plain.finals == ()
    assert verdict_of(plain) is None
    assert plain.finished


def judged(finished: RunView, folder: Path, gains: Mapping[int, float]) -> RunView:
    """The run as if these trials had been judged under three seeds: each loss much lower, each accuracy so much
    higher."""
    base = finished.baseline_trial
    assert base is not None
    trials = {t.result.number: t.result.architecture for t in finished.complete}
    one, shifts = finished.finals[0], ((0.0, 0.003, -0.002), (0.0, 0.0031, -0.0022), (0.0001, 0.0029, -0.002))
    came_to = [(base.result.number, 0.8, 0.6), *((number, 0.8 + gain, 0.57) for number, gain in gains.items())]
    found = [
        replace(one, architecture=trials[number], seed=seed, score=score + shift, loss=loss + shift)
        for (number, score, loss), each in zip(came_to, shifts, strict=False)
        for seed, shift in zip((1, 2, 3), each, strict=True)
    ]
    plan = replace(FinalPlan.from_json(finished.finals_plan or {}), trials=tuple(gains), seeds=(1, 2, 3), ended_at=1.0)
    return replace(finished, path=folder, finals=tuple(found), finals_plan=plan.to_json())


def test_a_lower_loss_names_no_winner_that_is_less_accurate(finished: RunView, tmp_path: Path) -> None:
    (number,) = FinalPlan.from_json(finished.finals_plan or {}).trials
    won, lost = (verdict_of(judged(finished, tmp_path, {number: gain})) for gain in (0.0, -0.01))
    assert won is not None
    assert lost is not None
    assert (won.by, won.decided, won.trial is None) == ("loss", True, False)
    assert lost.trial is None
    assert "has a lower loss, but a worse accuracy" in lost.text


def test_a_finalists_weights_are_there_before_it_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is never trained again: after a kill between the two it would have none for ever."""

    def killed(record: RunRecord, training: Training) -> None:
        assert training.final
        raise Interrupted(9)

    monkeypatch.setattr(RunRecord, "append_training", killed)
    with pytest.raises(Interrupted):
        nas.search(**SETTINGS | {"out": str(tmp_path / "run"), "trials": 2})
    view = RunView.load(tmp_path / "run")
    assert view.finals == ()
    assert len(list((view.path / "weights").glob("final-*.safetensors"))) == 1


@pytest.mark.parametrize(("gain", "by"), [(0.02, "accuracy"), (0.0, "loss")])
def test_who_is_over_the_budgets_now_is_not_recommended(
    finished: RunView, tmp_path: Path, gain: float, by: str
) -> None:
    costly = max(finished.complete, key=lambda t: t.result.macs)
    number = costly.result.number
    before = judged(finished, tmp_path, {number: gain})
    verdict = verdict_of(before)
    assert verdict is not None
    assert (verdict.trial, verdict.by, verdict.outside) == (number, by, None)
    less = replace(before, constraints=(Constraint("macs", costly.result.macs - 1),))
    open_ = replace(before, constraints=(Constraint("latency_ms", 1e3),), results=tuple(
        replace(r, latency=None) if r.number == number else r for r in before.results
    ), measured={})  # fmt: skip
    for view, why in (
        (less, f"; but trial {number} is not within the present budgets: FLOPs less than 0.1% over budget"),
        (open_, f"; but whether trial {number} is within the present budgets is not known"),
    ):
        now = verdict_of(view)
        assert now == replace(verdict, text=verdict.text + why, trial=None, outside=number)
        assert summary.verdict(view).headline == f"{now.text}."
        (ship,) = architectures.ship(view, Palette.of(view))
        assert number not in [row["number"] for row in ship["rows"]]
        run = nas.open_run(finished.path)
        run.view = view
        assert run.select("verdict") == run.select("knee")
        assert (
            unreached(SearchConfig(trials=3, finalists=1, max_hours="1h"), view)
            == "no verdict within the present budgets yet"
        )


def test_no_gain_is_missed_by_who_is_over_the_budgets(finished: RunView, tmp_path: Path) -> None:
    cheap, costly = sorted((t.result for t in finished.complete if t.result.origin != "baseline"), key=lambda r: r.macs)
    before = judged(finished, tmp_path, {cheap.number: -0.004, costly.number: -0.002})
    whole, within = verdict_of(before), verdict_of(replace(before, constraints=(Constraint("macs", cheap.macs),)))
    assert whole is not None
    assert within is not None
    assert f"(trial {costly.number} " in whole.text
    assert f"(trial {cheap.number} " in within.text


def test_of_two_that_beat_all_add_the_one_within_the_budgets_is_named(finished: RunView, tmp_path: Path) -> None:
    cheap, costly = sorted((t.result for t in finished.complete if t.result.origin != "baseline"), key=lambda r: r.macs)
    before = judged(finished, tmp_path, {cheap.number: 0.02, costly.number: 0.03})
    now = verdict_of(replace(before, constraints=(Constraint("macs", cheap.macs),)))
    verdict = verdict_of(before)
    assert verdict is not None
    assert now is not None
    assert (verdict.trial, now.trial, now.outside) == (costly.number, cheap.number, None)
    assert "present budgets" not in now.text


@pytest.mark.slow
def test_what_is_known_is_not_trained_again_and_more_can_be_asked_for(finished: RunView, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    nas.search(**SETTINGS | {"out": str(folder)})
    before = RunView.load(folder)
    assert nas.search(**SETTINGS | {"out": str(folder)}).view.finals == before.finals
    asked = {"finalists": 2, "finalist_seeds": 3, "finalist_max_seeds": 3}
    done = nas_program("finalists", folder, "--finalists", 2, "--seeds", 3, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["finalists"]) == 3
    assert {tuple(sorted(one["seeds"])) for one in found["finalists"]} >= {("1", "2", "3")}
    after = RunView.load(folder)
    assert after.finals[: len(before.finals)] == before.finals
    identities = [(*training.identity, training.final) for training in after.finals]
    assert len(set(identities)) == len(identities)
    assert nas.search(**SETTINGS | asked | {"out": str(folder)}).view.finals == after.finals


@pytest.mark.slow
def test_a_verdict_stays_where_there_is_no_time_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS | {"out": str(tmp_path / "run")}
    before = nas.search(**settings).view
    monkeypatch.setattr(Planner, "final", lambda planner, job: False)
    more = nas.search(extend=True, **settings | {"trials": 5, "finalists": 3}).view
    assert len(more.complete) == 5
    assert more.finals == before.finals
    assert verdict_of(more) == verdict_of(before) is not None


@pytest.mark.slow
def test_a_killed_search_goes_on_in_the_middle_of_its_finals(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (tmp_path / "small.toml").write_text(
        'operators = ["add", "concat", "se"]\ntrain_images = 128\nval_fraction = 0.02\ntrials = 3\nengine = "local"\n'
        'export = "none"\nfinalists = 1\nfinalist_seeds = 2\nfinalist_max_seeds = 3\n[training]\nepochs = 1\n'
        'batch_size = 32\nprecision = "float32"\nregime = "scratch"\n[latency]\npasses = 30\nwarmup = 3\nattempts = 1\n'
    )
    program = start_nas("search", tmp_path / "small.toml", "--out", folder)
    stopped = kill_when(program, folder, lambda view: view.finals)
    assert not stopped.finished
    assert verdict_of(stopped) is None
    done = nas_program("search", tmp_path / "small.toml", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "verdict:  " in done.stdout
    after = RunView.load(folder)
    assert after.finals[: len(stopped.finals)] == stopped.finals
    assert len(after.results) == 3


def test_the_verdict_is_shown_and_reported(finished: RunView, tmp_path: Path) -> None:
    verdict, finals = verdict_of(finished), finals_of(finished)
    assert verdict is not None
    assert finals is not None
    shown = json.loads(nas_program("show", finished.path, "--json").stdout)
    assert shown["verdict"] == json.loads(json.dumps(verdict.to_json()))
    page = write_report(finished, tmp_path / "report.html").read_text()
    section = page[page.index('id="finalists"') : page.index('id="trust"')]
    assert "that the search never saw" in section
    assert 'id="finals"' in section
    assert finals_story(finals)[0].startswith("Each is trained anew")


@pytest.mark.slow
def test_the_export_is_a_finalists(finished: RunView, tmp_path: Path) -> None:
    finals = finals_of(finished)
    assert finals is not None
    number = finals.rivals[0].trial.result.number
    nas.open_run(finished.path).export(number, tmp_path / "exported")
    provenance = json.loads((tmp_path / "exported" / "arch.json").read_text())["provenance"]
    assert (provenance["judged_on"], provenance["trained_on"]) == ("test", ["train", "val"])
    header = " ".join((tmp_path / "exported" / "model.py").read_text().split('"""')[1].split())
    assert (
        f"trial {number}, seed {provenance['seed']}, {provenance['correct']} of {provenance['images']} test" in header
    )
    assert provenance["images"] == 2000
    assert provenance["score"] == finals.rivals[0].trainings[1].score
    assert provenance["selected_by"]["score"] == finals.rivals[0].trial.result.score
    parity = json.loads((tmp_path / "exported" / "parity.json").read_text())
    assert parity["accuracy"]["images"] == 2000
    other = next(t.result.number for t in finished.complete if t.result.number not in (0, number))
    nas.open_run(finished.path).export(other, tmp_path / "other")
    assert json.loads((tmp_path / "other" / "arch.json").read_text())["provenance"]["judged_on"] == "val"


@pytest.fixture
def folder_without_test(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for place in range(120):
        file = tmp_path / "images" / "ab"[place % 2] / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(file)
    return tmp_path / "images"


def test_where_there_is_no_test_split_one_is_cut_and_kept(folder_without_test: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {
        "data": f"folder:{folder_without_test}", "train_images": None, "val_fraction": 0.3,
        "out": str(tmp_path / "run"),
        "training": SETTINGS["training"] | {"batch_size": 16},
    }  # fmt: skip
    view = nas.search(**settings).view
    data = view.description["data"]
    assert (data["train"], data["val"], data["test"]) == (68, 28, 24)
    assert {training.images for training in view.finals} == {24}
    # What it began with it goes on with, whatever is asked of its finalists later.
    more = nas.search(**settings | {"trials": 4, "finalists": "none"}, extend=True).view
    assert more.description["data"]["fingerprint"] == data["fingerprint"]
    plain = nas.search(**settings | {"finalists": "none", "out": str(tmp_path / "plain")}).view
    assert plain.description["data"]["test"] is None
    assert (plain.description["data"]["train"], plain.description["data"]["val"]) == (84, 36)
    with pytest.raises(ConfigError, match="has no test split, and none was cut when the search began"):
        find_finalists(Path(plain.path), {"finalists": 1}, narrator(), Interruption())


def test_bad_wishes_are_one_line_each(finished: RunView, folder_without_test: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finalists is 4, but trials is 3"):
        nas.search(**SETTINGS | {"finalists": 4})
    with pytest.raises(ConfigError, match="finalist_max_seeds is 2, but finalist_seeds 3"):
        nas.search(**SETTINGS | {"finalist_seeds": 3, "finalist_max_seeds": 2})
    for given, said in (
        (("--seeds", 1), r"nas: --seeds: given 1; it should be greater than or equal to 2"),
        (("--finalists", "few"), r"nas: --finalists: given 'few'; expected a whole number, or none"),
        (("--finalists", "none"), "nas: --finalists: there are none to judge of"),
    ):
        done = nas_program("finalists", finished.path, *given)
        assert done.returncode == 2
        assert done.stderr.startswith(said)
        assert done.stderr.count("\n") == 1
    copies = tmp_path / "copies"
    for split in ("train", "test"):
        for kind in "ab":
            (copies / split / kind).mkdir(parents=True)
            for file in (folder_without_test / kind).iterdir():
                (copies / split / kind / file.name).write_bytes(file.read_bytes())
    same = SETTINGS | {"data": f"folder:{copies}", "train_images": None, "out": str(tmp_path / "run")}
    with pytest.raises(ConfigError, match="all 120 test images are training or validation images too"):
        nas.search(**same)


def test_few_trials_have_few_finalists() -> None:
    assert [SearchConfig(trials=n).wanted_finalists for n in (1, 2, 3, 4, 20)] == [0, 1, 2, 3, 3]
    assert SearchConfig(finalists="none").wanted_finalists == 0
    assert SearchConfig(seed=7).seeds_of_finalists == (8, 9, 10, 11, 12, 13)


def test_a_run_without_finalists_says_so(finished: RunView) -> None:
    plan = FinalPlan((), None, (1, 2), 2, 1, 1, ended_at=1.0, skipped="there was nothing to judge")
    view = replace(finished, finals_plan=plan.to_json())
    verdict = verdict_of(view)
    assert verdict is not None
    assert verdict.text == "No verdict: there was nothing to judge"
    assert finals_json(view) == {"verdict": verdict.to_json(), "finalists": []}


def test_detectors_are_judged_by_their_own_figure_and_loss(tmp_path: Path) -> None:
    settings = {
        "task": "detection", "data": f"coco:{cells(tmp_path / 'data', images=40)}", "image_size": 64, "trials": 2,
        "engine": "local", "operators": ["add", "se"], "reductions": [4], "export": "none", "finalists": 1,
        "finalist_seeds": 2, "finalist_max_seeds": 2, "out": str(tmp_path / "run"),
        "training": {"epochs": 1, "batch_size": 8}, "latency": {"screen": False, "passes": 30, "attempts": 1},
    }  # fmt: skip
    view = nas.search(**settings).view
    finals, verdict = finals_of(view), verdict_of(view)
    assert finals is not None
    assert verdict is not None
    assert len(view.finals) == 4
    assert view.description["data"]["images"]["test"] == finals.images
    assert not finals.tempered
    assert not (view.path / "finals").exists()
    assert "test images that the search never saw" in verdict.text
    assert all(training.figures["ap"] == training.score for training in view.finals)


def test_a_repriced_run_keeps_its_finalists_and_judges_others(finished: RunView, tmp_path: Path) -> None:
    finals = finals_of(finished)
    assert finals is not None
    (number,) = finals.plan.trials
    same = reprice(finished.path, {"max_flops": "9x"}, None)
    write(same, finished.path, tmp_path / "same")
    assert verdict_of(RunView.load(tmp_path / "same")) == verdict_of(finished)
    over = f"{min(t.result.macs for t in finished.complete) + 1}"
    other = reprice(finished.path, {"max_flops": over}, None)
    write(other, finished.path, tmp_path / "other")
    repriced = RunView.load(tmp_path / "other")
    assert number not in [t.result.number for t in chosen(repriced, 1)]
    assert verdict_of(repriced) is None
    assert len(repriced.finals) == len(finished.finals)
