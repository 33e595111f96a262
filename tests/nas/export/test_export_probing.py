"""What an export will hold is found out before anything is trained, and that never ends a search."""

from __future__ import annotations

from pathlib import Path

from nas.export import probing
from search_spaces import InputSpec, SearchSpace

_NETWORK = """
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


class Net(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 4, 3), Block()
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((2, 3)))
"""


def test_a_cache_that_cannot_be_read_or_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(_NETWORK)
    space = SearchSpace.named(f"{tmp_path / 'net.py'}:Net", InputSpec(3, 16, 3), ("add",))
    (tmp_path / "cache").write_text("no folder")  # also root may not write below a file
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    assert probing.left_out(space, said.append) == {}
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "other"))
    assert probing.left_out(space, said.append) == {}
    (kept,) = Path(tmp_path / "other").rglob("*.json")
    assert probing.left_out(space, said.append) == {}
    assert len(said) == 2
    kept.write_text("{")
    assert probing.left_out(space, said.append) == {}
    assert len(said) == 3
