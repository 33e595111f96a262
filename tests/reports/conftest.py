"""Fixtures: runs to report on, read back from real records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Not in this file: every tests folder has a conftest, and only one of them can be imported by that name.
from reports_browser import started
from reports_records import MakeRun, explained, realistic_trials, record

from reports import RunView
from reports.page import write_report


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`record` in a folder of the test's own."""

    def make(*args: Any, folder: str = "run", **options: Any) -> RunView:
        return record(tmp_path / folder, *args, **options)

    return make


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """The realistic run, in a folder whose name is hostile too. Frozen, so written once for all tests."""
    return record(tmp_path_factory.mktemp("runs") / "fashion <b>first & 'quoted'", realistic_trials())


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with started(tmp_path / "profile") as driver:
        yield driver


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with everything on it: the realistic run, an ablation and attention weights."""
    folder = tmp_path_factory.mktemp("page")
    return write_report(explained(record(folder / "run", realistic_trials())), folder / "report.html").as_uri()
