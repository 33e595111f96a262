"""Fixtures: locks of the test's own, so that no search on this machine waits for a test or the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(folder))
    return folder
