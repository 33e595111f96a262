"""A search with `--backup`: what is elsewhere at its end is the run, which goes on from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from trials.record.file import FILE_NAME


def test_a_search_goes_on_from_its_copy(tiny: dict[str, Any], tmp_path: Path) -> None:
    run = nas.search(**tiny | {"backup": str(tmp_path / "elsewhere")})
    copy = nas.open_run(tmp_path / "elsewhere" / "run")
    assert copy.view.results == run.view.results
    assert copy.view.sessions == run.view.sessions, "the last copy is of after the end"
    assert copy.view.complete
    later = tmp_path / "later"
    nas.search(**tiny | {"backup": str(later), "storage": str(later)})
    assert nas.open_run(later / "run").view.results == run.view.results, "asked for when all was done"
    weights = {path.name for path in (run.path / "weights").iterdir()}
    assert weights
    assert {path.name for path in later.glob("run-*/trial-*")} == weights
    shutil.rmtree(run.path)
    run.path.mkdir()
    shutil.copy(copy.path / FILE_NAME, run.path / FILE_NAME)
    again = nas.search(resume=run.path, trials=4, extend=True)
    assert again.view.results[:3] == copy.view.results
    assert len(again.view.results) == 4


def test_a_place_that_cannot_be_written_to_ends_no_search(tiny: dict[str, Any]) -> None:
    run = nas.search(**tiny | {"trials": 2, "backup": "nowhere://bucket/runs"})
    assert len(run.view.complete) == 2


def test_a_local_place_is_independent_of_where_one_stands() -> None:
    assert load_config(None, {"backup": "copies"}).backup == str(Path("copies").absolute())
    assert load_config(None, {"backup": "s3://bucket/runs"}).backup == "s3://bucket/runs"


def test_a_place_that_leads_to_the_record_is_refused(tiny: dict[str, Any]) -> None:
    out = Path(tiny["out"])
    for place in (str(out.parent), str(out / FILE_NAME), f"file://{out.parent}"):
        with pytest.raises(ConfigError, match="the record itself; give another"):
            nas.search(**tiny | {"backup": place})
    assert not out.exists()
