"""Where the best classifier and all-add differ: images kept once, for the report. A real small search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.stages.contact_sheet import look
from reports import RunView
from reports.contact import CONTACT_NAME, contact_of, contact_text
from reports.document import document_of
from reports.page import render

SETTINGS: dict[str, Any] = {
    "space": "resnet8", "operators": ["add", "concat", "se"], "train_images": 256, "val_fraction": 0.02, "trials": 3,
    "engine": "local", "export": "none", "finalists": "none",
    "training": {"epochs": 1, "batch_size": 32, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A run whose best is not all-add, which three barely trained networks may or may not make."""
    found = nas.search(**SETTINGS | {"out": str(tmp_path_factory.mktemp("contact") / "run")}).view
    if found.select("best").result.origin == "baseline":
        pytest.skip("all-add is best here, and there is nothing to differ from it")
    look(found.path, lambda line: None)
    return found


def test_the_sheet_counts_as_the_record_does(view: RunView) -> None:
    found = contact_of(view)
    assert found is not None
    best, base = view.select("best").result, view.baseline_trial
    assert base is not None
    assert (found.trial, found.baseline) == (best.number, base.result.number)
    assert sum(found.counts.values()) == found.images == best.images
    gained, lost = found.counts["gained"], found.counts["lost"]
    assert gained - lost == (best.correct or 0) - (base.result.correct or 0)
    assert {one.kind for one in found.shown} == {kind for kind in ("gained", "lost") if found.counts[kind]}
    for one in found.shown:
        assert (one.said == one.truth) == (one.kind == "gained")
        assert (one.before == one.truth) == (one.kind == "lost")


def test_it_is_in_the_report_and_not_made_twice(view: RunView) -> None:
    found = contact_of(view)
    assert found is not None
    data = next(part for part in document_of(view)["sections"] if part["key"] == "data")
    assert contact_text(found) in [block.get("text") for block in data["blocks"]]
    assert render(view).count('alt="Validation image of') == len(found.shown)
    said: list[str] = []
    look(view.path, said.append)
    assert said == []


def test_a_sheet_that_was_tampered_with_is_not_shown(view: RunView) -> None:
    path = view.path / CONTACT_NAME
    kept = path.read_text()
    try:
        for wrong in ("{", json.dumps({**json.loads(kept), "shown": [{"picture": "https://example.org/x.png"}]})):
            path.write_text(wrong)
            assert contact_of(view) is None
            assert "https://example.org" not in render(view)
    finally:
        path.write_text(kept)


def test_a_folder_without_one_has_none(tmp_path: Path, view: RunView) -> None:
    from dataclasses import replace

    assert contact_of(replace(view, path=tmp_path)) is None
