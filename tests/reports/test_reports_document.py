"""The document: sealed, versioned, whole; and every form that it is shown in."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports_records import HOSTILE, MakeRun, realistic_trials, result

from reports import RunView
from reports.document import VERSION, document_of, document_text, outline_of, read_document, seal
from reports.errors import ReportError
from reports.formats import FORMATS, text_of, write_document
from reports.front_picture import marks_of, picture, ticks
from reports.page import render, render_document
from trials.trial import TrialState


@pytest.fixture(scope="module")
def document(run: RunView) -> dict[str, Any]:
    return document_of(run)


def test_the_page_is_made_from_the_document_alone(run: RunView, document: dict[str, Any], tmp_path: Path) -> None:
    path = write_document(document, tmp_path / "report.json", "json")
    assert read_document(path) == document
    assert render_document(read_document(path)) == render(run)


def test_a_changed_document_breaks_its_seal(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert seal(document) == document["sha256"]
    path.write_text(document_text({**document, "verdict": {**document["verdict"], "headline": "It is better."}}))
    with pytest.raises(ReportError, match="was changed after it was sealed"):
        read_document(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no report"), ("[]", "is no report"), ("{}", "is no report"),
        ('{"format": "x", "version": 1, "sha256": ""}', "expected a 'fusion-nas report'"),
        (json.dumps({"format": "fusion-nas report", "version": VERSION + 1, "sha256": ""}), "of version"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ReportError, match=said):
        read_document(tmp_path / "x.json")


def test_all_trials_stand_in_columns(run: RunView, document: dict[str, Any]) -> None:
    trials = document["trials"]
    columns = trials["columns"]
    assert columns["number"] == [t.result.number for t in run.trials]
    assert all(column is None or len(column) == len(run.trials) for column in columns.values())
    for place, trial in enumerate(run.trials):
        labels = [trials["choices"][c]["label"] for c in columns["architecture"][place]]
        assert labels == list(trial.result.architecture.labels().values())
        assert columns["feasible"][place] == (None if trial.feasible is None else int(trial.feasible))
        assert columns["front"][place] == trial.on_front
        assert trials["texts"][columns["state"][place]] == trial.result.state
        budgets = [document["budgets"][b]["metric"] for b in columns["over"][place]]
        assert budgets == [m for m, v in trial.violations.items() if v > 0]


@pytest.mark.parametrize("form", ["html", "md", "json", "csv", "svg"])
def test_every_form_holds_every_run(make_run: MakeRun, form: str) -> None:
    for folder, trials in (
        ("none", []), ("failed", [result(0, ["add"] * 3, TrialState.FAILED, error=HOSTILE)]),
        ("one", [result(0, ["add"] * 3, origin="baseline")]), ("many", realistic_trials()),
    ):  # fmt: skip
        text = text_of(document_of(make_run(trials, folder=folder)), form)
        assert text.strip()
        # Markdown shows the configuration as code, in which nothing is markup.
        outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE) if form == "md" else text
        assert HOSTILE not in outside or form in ("json", "csv"), (folder, form)


def test_the_trials_come_as_csv_that_no_spreadsheet_runs(make_run: MakeRun) -> None:
    trials = [result(0, ["add"] * 3, origin="baseline"), result(1, ["se"] * 3, TrialState.FAILED, error="=cmd()")]
    rows = list(csv.DictReader(text_of(document_of(make_run(trials)), "csv").splitlines()))
    assert [row["state"] for row in rows] == ["complete", "failed"]
    assert rows[1]["error"] == "'=cmd()"
    assert rows[1]["layer2.0"] == "se/4"
    assert float(rows[0]["score"]) == trials[0].score


def test_markdown_says_the_same_and_runs_nothing(run: RunView, document: dict[str, Any]) -> None:
    text = text_of(document, "md")
    assert document["verdict"]["headline"][:40] in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        section["title"] for section in document["sections"]
    ]
    assert "<script" not in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    widths = [re.sub(r"\\.", "", line).count("|") for line in text.splitlines() if line.startswith("| ")]
    assert min(widths) > 2
    assert document["sha256"] in text


def test_the_picture_has_the_front_that_the_run_has(run: RunView, document: dict[str, Any]) -> None:
    marks, key, _ = marks_of(document)
    assert key == "macs"
    assert len(marks) == len(run.complete)
    assert {m.number for m in marks if m.front} == {t.result.number for t in run.front}, "objectives are these two"
    drawn = picture(document)
    assert all(f"trial {t.result.number}: " in drawn for t in run.front)
    assert "all-add" in drawn
    assert drawn.count("<svg") == drawn.count("</svg>") == 1


def test_equal_values_have_a_picture(make_run: MakeRun) -> None:
    trials = [
        result(i, [op] * 3, origin="uniform" if i else "baseline", score=0.5, loss=1.0, macs=7, params=7, latency=False)
        for i, op in enumerate(("add", "se", "aff"))
    ]
    drawn = picture(outline_of(make_run(trials, [])))
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_ticks_are_round_and_within() -> None:
    assert ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0][: len(ticks(0.0, 1.0, 5))]
    for low, high in ((4.1e9, 5.7e9), (88.1, 88.2), (-3.0, 0.001)):
        found = ticks(low, high, 6)
        assert 2 <= len(found) <= 7
        assert low <= found[0] < found[-1] <= high


def test_a_picture_without_a_browser_says_what_would_do(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ReportError, match="ask for --format svg"):
        write_document(document, tmp_path / "front.png", "png")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReportError, match="no form 'pdf'"):
        write_document(document, tmp_path / "front.pdf", "pdf")
    assert "png" in FORMATS


def test_a_number_that_is_none_is_no_word_of_json(run: RunView) -> None:
    odd = replace(run, description={**run.description, "data": {"name": "x", "share": float("nan")}})
    assert "NaN" not in document_text(document_of(odd))


def test_what_is_not_known_to_be_within_the_budgets_is_not_drawn_as_if_it_were(make_run: MakeRun) -> None:
    untimed = [replace(trial, latency=None) for trial in realistic_trials()]
    baseline = {"macs": 10_500_000, "params": 77_000, "latency_ms": None}
    run = make_run(untimed, [{"metric": "latency_ms", "bound": 1.1, "relative": True}], baseline)
    document = document_of(run)
    assert document["trials"]["columns"]["feasible"] is None
    assert {tuple(places) for places in document["trials"]["columns"]["open"]} == {(0,)}
    drawn = picture(document)
    assert drawn.count("h6v6h-6z") == len(run.complete)
    assert "#56b4e9" not in drawn
    front = next(s for s in document["sections"] if s["key"] == "pareto")["blocks"][1]
    assert f"{len(run.complete)} of which that is not known" in front["alt"]
