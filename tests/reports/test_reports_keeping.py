"""Looking at a search of many trainings takes no estimating: what it kept is what estimating anew gives."""

from __future__ import annotations

import errno
import io
import os
import shutil
import time
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import pytest
from reports_records import OPERATORS, record, result
from rich.console import Console

from nas.session import keeping as keeping_module
from nas.session.keeping import Keeping, keep
from nas.terminal.runs import print_status
from reports import RunView
from reports.estimates import not_told_apart
from reports.keeping import at_a_look, to_keep
from reports.model import FAILED, KEY, MANY
from reports.status import status_json
from trials.estimates.estimates import Estimates
from trials.estimates.model import Conditioned
from trials.record.file import FILE_NAME
from trials.record.store import Store
from trials.trial import TrialResult

MORE = 12


@pytest.fixture(scope="module")
def trials() -> list[TrialResult]:
    """Of distinct architectures; all-add is first."""
    every = product((4, 8), product(OPERATORS, repeat=3))
    distinct = {result(0, ops, reduction=ratio).architecture.key: (ops, ratio) for ratio, ops in every}
    wanted = islice(distinct.values(), MANY + MORE)
    return [
        result(
            number, ops, origin="sampler" if number else "baseline", reduction=ratio, tempered_loss=0.3 + number / 1e4
        )
        for number, (ops, ratio) in enumerate(wanted)
    ]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, trials: list[TrialResult]) -> tuple[RunView, RunView]:
    """A run of many trainings before its estimates were kept and after, the latter as it is loaded."""
    config = {"space": "resnet8", "trials": MANY, "training": {"epochs": 5}}
    anew = record(tmp_path_factory.mktemp("kept") / "run", trials[:MANY], config=config)
    with Store.open_for_writing(anew.path / FILE_NAME) as store:
        keep(store, RunView.of(anew.path, store))
    return anew, RunView.load(anew.path)


def told(view: RunView) -> str:
    text = io.StringIO()
    print_status(Console(file=text, width=200), view, active=False)
    return text.getvalue()


class Counted:
    """How often a model is fitted, and solved for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits = self.solves = 0
        init, given = Estimates.__init__, Conditioned._given

        def fit(own: Estimates, *arguments: object, **named: object) -> None:
            self.fits += 1
            init(own, *arguments, **named)  # type: ignore[arg-type]

        def solve(own: Conditioned, *arguments: object) -> object:
            self.solves += 1
            return given(own, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Estimates, "__init__", fit)
        monkeypatch.setattr(Conditioned, "_given", solve)


def test_what_is_kept_is_what_estimating_anew_gives(kept: tuple[RunView, RunView]) -> None:
    anew, loaded = kept
    again = loaded.estimated()
    assert again.model is not None
    assert again.model.facts is not None
    assert dict(again.estimates) == dict(anew.estimates)
    assert [t.result.number for t in again.front] == [t.result.number for t in anew.front]
    alike = not_told_apart(anew)
    assert alike
    assert [t.result.number for t in not_told_apart(again) or ()] == [t.result.number for t in alike]
    assert status_json(loaded, active=False) == status_json(anew, active=False)
    assert told(loaded) == told(anew)
    assert to_keep(loaded) is None  # it is there


def test_a_look_at_many_trainings_fits_and_solves_nothing(
    kept: tuple[RunView, RunView], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    told(kept[1])
    assert (counted.fits, counted.solves) == (0, 0)
    Estimates(kept[1].trainings, kept[1].baseline_architecture, ("scratch", 5))
    assert counted.fits == 1  # it does count


def test_a_run_that_has_grown_since_is_told_as_it_was(
    kept: tuple[RunView, RunView], trials: list[TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, before = Counted(monkeypatch), kept[1]
    grown = before
    for trial in trials[MANY:]:
        grown = grown.with_result(trial)
    text = told(grown)
    assert (counted.fits, counted.solves) == (0, 0)
    assert f"its first {MANY} trainings of {MANY + MORE}" in text
    assert f"{MANY + MORE} complete" in text
    status = status_json(grown, active=True)
    assert status["estimated_trainings"] == MANY
    assert status["trained"] == MANY + MORE
    assert status["best"] == status_json(before, active=True)["best"]
    assert grown.estimated().model is not None
    assert counted.fits == 1


def test_a_run_is_read_as_it_is_at_one_moment(
    tmp_path: Path, trials: list[TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a search records beside it: of trainings that the one answer has and the other has not, no estimates that
    are kept would be found again."""
    path = record(tmp_path / "run", trials[:3]).path
    told_of = Store.trainings_beside
    with Store.open_for_writing(path / FILE_NAME) as search, Store.open(path / FILE_NAME) as look:

        def meanwhile(own: Store) -> object:
            if own is look and len(search.results()) == 3:
                search.append(trials[3])
            return told_of(own)

        monkeypatch.setattr(Store, "trainings_beside", meanwhile)
        view = RunView.of(path, look)
        assert len(search.results()) == 4, "recorded in the midst of the look, and not held up by it"
        assert len(view.results) == len(view.order) == len(view.moments) == 3
        assert len(RunView.of(path, look).order) == 4


def test_what_was_kept_of_other_trainings_does_not_count(kept: tuple[RunView, RunView]) -> None:
    loaded = kept[1]
    first, *others = loaded.results
    other = replace(loaded, results=(replace(first, score=0.5), *others))
    for view in (other, replace(loaded, kept_estimates={**(loaded.kept_estimates or {}), "facts": None})):
        found = view.estimated()
        assert found.model is not None
        assert found.model.facts is None


def test_of_few_trainings_nothing_is_kept(tmp_path: Path, trials: list[TrialResult]) -> None:
    view = record(tmp_path / "run", trials[:10])
    with Store.open_for_writing(view.path / FILE_NAME) as store:
        keep(store, RunView.of(view.path, store))
        assert store.get(KEY) is None
    assert at_a_look(RunView.load(view.path)).estimates == view.estimates


def test_a_search_has_them_made_beside_it_and_records_what_it_would_have_made(
    tmp_path: Path, trials: list[TrialResult], kept: tuple[RunView, RunView], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "nas", "trials", "reports"):  # a user's own files are theirs
        (here / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(here)
    config = {"space": "resnet8", "trials": MANY, "training": {"epochs": 5}}
    grown = record(tmp_path / "run", trials[:MANY], config=config)
    with Store.open_for_writing(grown.path / FILE_NAME) as store:
        keeping, deadline = Keeping(store, pytest.fail), time.monotonic() + 120
        while store.get(KEY) is None:
            keeping.grown(grown)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert store.get(KEY) == kept[1].kept_estimates
        keeping.grown(grown)
        assert keeping._making is None, "nothing is made again before it has grown by a quarter"


def test_a_search_that_ends_leaves_no_process_and_is_not_held_up_by_one(kept: tuple[RunView, RunView]) -> None:
    before = kept[0]
    with Store.open_for_writing(before.path / FILE_NAME) as store:
        store.put({KEY: None})
        keeping = Keeping(store, pytest.fail)
        keeping.grown(before)
        assert keeping._making is not None
        maker = keeping._making.maker
        keeping.close()
        assert maker.returncode is not None
        assert store.get(KEY) is None
        keep(store, before)  # as the others find it


@pytest.mark.slow
def test_that_they_cannot_be_made_is_said_once_and_by_every_look(
    kept: tuple[RunView, RunView], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(kept[0].path, tmp_path / "run"))
    (tmp_path / "scipy.py").write_text("raise MemoryError('no room')")
    monkeypatch.syspath_prepend(tmp_path)
    said: list[str] = []
    with Store.open_for_writing(run / FILE_NAME) as store:
        for _ in range(2):
            store.put({KEY: None})
            keeping, grown, deadline = Keeping(store, said.append), RunView.of(run, store), time.monotonic() + 60
            keeping.grown(grown)
            while keeping._making is not None:
                assert time.monotonic() < deadline
                keeping.grown(grown)
                time.sleep(0.05)
    expected = "estimates could not be made beside the search (MemoryError: no room): it goes on without"
    assert [line[: len(expected)] for line in said] == [expected]
    monkeypatch.undo()
    view = RunView.load(run)
    assert expected in told(view)
    assert status_json(view, active=True)["estimating_failed"] == "MemoryError: no room"
    with Store.open_for_writing(run / FILE_NAME) as store, monkeypatch.context() as patched:
        patched.setattr(keeping_module, "_begun", _no_process)
        store.put({KEY: None, FAILED: None})
        Keeping(store, said.append).grown(grown)
    assert said[-1].startswith("estimates could not be made beside the search (Cannot allocate memory)")


def _no_process(run: Path) -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
