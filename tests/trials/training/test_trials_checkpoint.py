"""A user's own weights: read without running anything, and refused in one line where they do not fit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from search_spaces import InputSpec, SearchSpace
from trials.errors import CheckpointError
from trials.training.checkpoint import read_checkpoint

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(SPACE.build(SPACE.baseline).state_dict())


class Harmful:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.path,)


def test_what_training_loops_save_is_read(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pth")
    torch.save({"model": {k: v.half() for k, v in state.items() if "num_batches" not in k}}, tmp_path / "c.pt")
    for name in ("a.safetensors", "a.pt", "b.pth"):
        found = read_checkpoint(tmp_path / name, SPACE)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
    wrapped = {"ema": {f"module._orig_mod.{k}": v for k, v in state.items()} | {"n_averaged": torch.tensor(3)}}
    torch.save(wrapped | {"state_dict": {}}, tmp_path / "averaged.pth")
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}, "pytorch-lightning_version": "2.5"},
               tmp_path / "lightning.ckpt")  # fmt: skip
    for name in ("averaged.pth", "lightning.ckpt"):
        found = read_checkpoint(tmp_path / name, SPACE)
        assert all(torch.equal(found[key], state[key]) for key in state), name
    halved = read_checkpoint(tmp_path / "c.pt", SPACE)
    assert {key: tensor.dtype for key, tensor in halved.items()} == {key: t.dtype for key, t in state.items()}


def test_what_does_not_fit_is_one_line(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    def refused(content: Any, name: str = "a.pt") -> str:
        if content is not None:
            torch.save(content, tmp_path / name)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(tmp_path / name, SPACE)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
        return str(caught.value)

    without = {name: tensor for name, tensor in state.items() if name != "conv1.weight"}
    assert "lacks the weight 'conv1.weight' of resnet8" in refused(without)
    deeper = state | {"layer4.0.conv1.weight": torch.ones(1)}
    assert "has the weight 'layer4.0.conv1.weight', but resnet8" in refused(deeper)
    wide = state | {"fc.weight": torch.zeros(1000, 64)}
    assert "'fc.weight' has shape [1000, 64], but resnet8 has [10, 64]" in refused(wide)
    broken = state | {"fc.bias": torch.full((10,), float("nan"))}
    assert "'fc.bias' holds values that are not finite" in refused(broken)
    assert "no mapping of names to tensors" in refused({"epoch": 3})
    assert "no mapping of names to tensors" in refused([1, 2])
    assert "no such file" in refused(None, "there-is-none.pt")
    assert "give a .safetensors, .pt, .pth, .ckpt or .bin file" in refused(None, "weights.onnx")
    for name in ("bad.pt", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"not a checkpoint at all")
        refused(None, name)
    (tmp_path / "empty.pt").write_bytes(b"")
    refused(None, "empty.pt")
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "is a pointer to a file of a large-file store" in refused(None, "pointer.pt")
    save_file(state, tmp_path / "short.safetensors")
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "short.safetensors").read_bytes()[:-100])
    assert "is damaged or no checkpoint" in refused(None, "short.safetensors")
    (tmp_path / "folder.pt").mkdir()
    refused(None, "folder.pt")


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_not_run(save: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    made = tmp_path / "made"
    save({"state_dict": Harmful(made)}, tmp_path / "harmful.pt")
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_checkpoint(tmp_path / "harmful.pt", SPACE)
    assert not made.exists()
