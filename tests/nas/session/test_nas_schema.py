"""A run that the last version of schema 1 made: what it said of itself is what this version says, and it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from programs import nas_program

from reports import RunView
from reports.ablation import ablations_of
from reports.page import write_report
from reports.trust import trust_json
from trials.record.file import FILE_NAME

OLD = Path(__file__).parent / "schema_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(OLD / FILE_NAME, run)
    return run


def alike(found: Any, said: Any) -> bool:
    """Whether all that was said is found, whatever is said beside it today."""
    if isinstance(said, dict):
        return isinstance(found, dict) and all(key in found and alike(found[key], said[key]) for key in said)
    if isinstance(said, list):
        return len(found) == len(said) and all(map(alike, found, said))
    if isinstance(said, float):  # what is computed from it may differ in the last digit of a quantile
        return bool(found == pytest.approx(said, rel=1e-12, abs=0))
    return bool(found == said)


def test_what_it_said_of_itself(folder: Path, tmp_path: Path) -> None:
    """Of what it held: what is made of it by estimates is of today, and so is which of its trainings tell its noise."""
    said = json.loads((OLD / "show.json").read_text())
    said["run"].pop("path")
    said["trust"].pop("not_distinguishable_from_best")
    (said_noise,) = said["trust"].pop("noise")
    view = RunView.load(folder)
    estimated = view.estimated()
    assert estimated.estimates
    assert alike({**view.to_json(), "trust": trust_json(view)}, said)
    (noise,) = trust_json(view)["noise"]
    for figure in ("score", "loss"):
        assert noise[figure]["raw_sd"] == pytest.approx(said_noise[figure]["raw_sd"], rel=1e-12)
        assert noise[figure]["paired_df"] > said_noise[figure]["paired_df"], "of two seeds, which five networks have"
    (ablation,) = ablations_of(view)
    assert ablation.missing == 0
    page = write_report(estimated, tmp_path / "report.html").read_text()
    assert "Kendall" in page


def test_it_goes_on(folder: Path) -> None:
    before = RunView.load(folder)
    done = nas_program(
        "search", "--resume", folder, "--extend", "--trials", "7", "--finalists", "none", "--export", "none"
    )
    assert done.returncode == 0, done.stderr
    after = RunView.load(folder)
    assert len(after.complete) == 7
    assert after.results[: len(before.results)] == before.results
    assert after.beside == before.beside
    new = after.results[-1]
    assert (new.epochs, new.start) == (1, "scratch")
