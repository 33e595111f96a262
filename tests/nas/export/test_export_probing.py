"""What an export will hold is found out before anything is trained, and that never ends a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from export_networks import BASE
from torch import nn

from nas.export import probing
from nas.export.probing import candidates, left_out, with_every_operator
from search_spaces import InputSpec, SearchSpace, register
from search_spaces.fusions import operator_names, unregister

SPEC = InputSpec(3, 16, 4)
_KEPT = """

class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.part(x) if x.abs().max() < 1e9 else x


class Kept(Base):
    def more(self):
        self.a = Whole()
"""


@pytest.mark.slow
def test_a_cache_that_cannot_be_read_or_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(BASE)
    space = SearchSpace.named(f"{tmp_path / 'net.py'}:Base", SPEC, ("add",))
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


def test_a_check_says_before_what_will_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = tmp_path / "net.py"
    net.write_text(BASE + _KEPT)
    monkeypatch.setattr(probing, "MAX_SECONDS", 1e6)
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    found = left_out(SearchSpace.named(f"{net}:Kept", SPEC, ("add", "se")), said.append)
    assert found.keys() == {"model.onnx", "model.pt2"}
    assert "torch.export cannot follow the network" in found["model.pt2"]
    assert said == ["exporting untrained networks, to see what can be exported"]
    assert left_out(SearchSpace.named(f"{net}:Kept", SPEC, ("add", "se")), said.append) == found  # as it was kept
    assert left_out(SearchSpace.named("resnet8"), said.append) == {}
    assert len(said) == 1


class Deciding(nn.Module):
    """x + y, unless a value decides otherwise."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 1e30 else x + y


def test_each_operator_of_ones_own_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_CACHE", str(tmp_path / "cache"))
    register("deciding")(Deciding)
    try:
        space = SearchSpace.named("resnet8", SPEC, ("add", "deciding", "aff", "iaff", "cbam"))
        tried = dict(candidates(space))
        assert list(tried) == ["all-add", "aff and cbam and iaff", "deciding"]
        assert "deciding" in {choice.op for choice in tried["deciding"].choices.values()}
        monkeypatch.setattr(probing, "candidates", lambda space: [("deciding", tried["deciding"])])
        found = left_out(space, lambda line: None)
        assert found.keys() == {"model.pt2", "model.onnx"}
        assert found["model.pt2"].endswith("(with deciding)")
        monkeypatch.setattr(probing, "MAX_SECONDS", -1.0)
        said: list[str] = []
        assert left_out(replace(space, reductions=(4,)), said.append) == {}
        assert "is not tried" in said[-1]
    finally:
        unregister("deciding")


def test_every_operator_on_offer_is_tried_in_as_few_networks_as_can_be() -> None:
    space = SearchSpace.named("resnet8")
    assert {choice.op for choice in with_every_operator(space).choices.values()} == {"iaff", "aff", "cbam"}
    every = operator_names()
    for tie in ("none", "stage"):
        offered = SearchSpace.named("resnet8-fpn-fcos", None, every, tie=tie)
        tried = [architecture for _, architecture in candidates(offered)]
        assert {choice.op for one in tried for choice in one.choices.values()} == {
            choice.op for point in offered.points for choice in point.choices
        }
        assert len(tried) <= 2 + len(every)
