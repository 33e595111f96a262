"""What an interrupted `nas search` says: the command that goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.session.delivering import _begun_since, resume_command
from trials.record.store import Store


@pytest.mark.parametrize(
    ("fresh", "kept"), [(True, "nas search --fresh --out 'my run'"), (False, "nas search --out 'my run'")]
)
def test_fresh_is_repeated_only_while_it_is_still_to_do(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, kept: str
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/nas", "search", "--fresh", "--out", "my run"])
    assert resume_command(fresh) == kept


def test_a_run_that_began_before_is_not_the_fresh_one(tmp_path: Path) -> None:
    assert not _begun_since(str(tmp_path), 0.0)
    description = {"objectives": ["accuracy", "macs"]}
    with Store.create(tmp_path / "study.db", {"config": {}, "constraints": [], "description": description}) as store:
        store.begin_session({})
        began = store.sessions()[0].started_at
    assert _begun_since(str(tmp_path), began - 1)
    assert not _begun_since(str(tmp_path), began + 1)
