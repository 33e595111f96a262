"""Runs side by side, and the index of a folder of them."""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path

import pytest
from reports_records import HOSTILE, description, realistic_trials, record, result

from reports.comparison import compared, write_comparison
from reports.errors import ReportError
from reports.index import write_index
from trials.record.file import FILE_NAME


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one space, data and fidelity; one of other data; one that is damaged."""
    made = tmp_path_factory.mktemp("runs")
    record(made / "first", realistic_trials())
    record(made / "second", realistic_trials()[:14], config={"space": "resnet8", "epochs": 5, "sampler": HOSTILE})
    other = description() | {"data": description()["data"] | {"name": "other", "fingerprint": "0"}}
    record(made / "other <b>data", realistic_trials()[:8], description=other)
    (made / "damaged").mkdir()
    (made / "damaged" / FILE_NAME).write_bytes((made / "first" / FILE_NAME).read_bytes()[:3000])
    return made


def test_like_runs_are_told_apart_in_numbers(folder: Path) -> None:
    found = compared([folder / "first", folder / "second"])
    assert found["comparable"]
    rows = dict(found["rows"])
    assert [name for name in rows if name.startswith("hypervolume after 14")]
    assert any(re.search(r"The best of second is [+−]?\d\.\d\d ± \d", sentence) for sentence in found["story"])
    assert dict(found["differences"])["sampler"] == ["not set", HOSTILE]
    first, second = (run["hypervolume"] for run in found["runs"])
    assert first == pytest.approx(second, abs=0.05)
    assert json.loads(json.dumps(found)) == found


def test_a_run_beside_itself_differs_in_nothing(folder: Path) -> None:
    found = compared([folder / "first", folder / "first"])
    assert found["differences"] == []
    one, other = (run["hypervolume"] for run in found["runs"])
    assert one == other
    assert "is 0.00 ± " in found["story"][0]


def test_unlike_runs_have_no_difference_in_numbers(folder: Path) -> None:
    found = compared([folder / "first", folder / "other <b>data"])
    assert not found["comparable"]
    assert found["story"] == ["No difference is given a number: data of the runs differ."]
    assert all(run["hypervolume"] is None for run in found["runs"])


def test_one_run_is_no_comparison(folder: Path) -> None:
    with pytest.raises(ReportError, match="two runs or more, given 1"):
        compared([folder / "first"])


def test_the_page_of_a_comparison_is_escaped_and_asks_for_nothing(folder: Path, tmp_path: Path) -> None:
    found = compared([folder / name for name in ("first", "second", "other <b>data")])
    page = write_comparison(found, tmp_path / "compared.html").read_text()
    assert "<b>data" not in page
    assert HOSTILE not in page
    assert "script-src 'none'" in html.unescape(page)
    assert page.count("<svg") == 1


def test_the_index_has_every_run_and_says_which_cannot_be_read(folder: Path) -> None:
    page = write_index(folder).read_text()
    assert page.count("<h2>") == 4
    assert 'href="first/report.html"' in page
    assert 'href="other%20%3Cb%3Edata/report.html"' in page
    assert (folder / "first" / "report.html").is_file()
    assert "cannot be read" in page
    assert not (folder / "damaged" / "report.html").exists()
    written = (folder / "first" / "report.html").stat().st_mtime_ns
    write_index(folder)
    assert (folder / "first" / "report.html").stat().st_mtime_ns == written, "a report that is new enough stays"
    log = folder / "first" / "study.db-wal"
    log.write_bytes(b"")
    later = written + 10**9
    os.utime(log, ns=(later, later))
    write_index(folder)
    assert (folder / "first" / "report.html").stat().st_mtime_ns != written, "what is recorded may be in the log alone"


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds no runs"):
        write_index(tmp_path)


def test_an_empty_run_can_be_compared(tmp_path: Path) -> None:
    record(tmp_path / "a", [])
    record(tmp_path / "b", [result(0, ["add"] * 3, origin="baseline")])
    found = compared([tmp_path / "a", tmp_path / "b"])
    assert found["runs"][0]["front"] == []
    write_comparison(found, tmp_path / "x.html")
