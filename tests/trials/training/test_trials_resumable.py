"""A training that is killed after an epoch and begun again comes to the same weights, to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig
from trials.machine.quiet import occupied
from trials.seeds import drawing
from trials.training.resumable import Checkpoint, epochs_kept
from trials.training.starts import FromScratch, Start, WholeSupernet
from trials.training.trainer import Trainer, make_trainer
from trials.trial import Recipe

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ("add", "concat", "se"), (4,))
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {}, "adamw": {"optimiser": "adamw", "peak_lr": 1e-3},
    "averaged": {"ema_decay": 0.9, "max_grad_norm": 1.0, "fusion_lr_scale": 2.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    recipe = Recipe(epochs=4, batch_size=32, precision="float32")
    return make_trainer(DataConfig("fashion-mnist-mini", train_images=128, val_fraction=0.05), recipe)


def begun(start: Start) -> nn.Module:
    with drawing(torch.device("cpu"), 3, "initialisation"):
        network = start.network(SPACE, SPACE.uniform("se"), 3)
    return network.to(memory_format=torch.channels_last)


def trained(trainer: Trainer, start: Start, checkpoint: Checkpoint | None, epochs: int | None = None) -> nn.Module:
    """For so many epochs of four, then the process is gone."""
    network = begun(start)
    with occupied() as machine:
        points = list(islice(trainer.train(network, 3, machine, None, checkpoint), epochs))
    assert points
    return network


@pytest.mark.parametrize("start", [FromScratch(), WholeSupernet()], ids=["parent", "supernet"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_what_was_killed_after_any_epoch_comes_to_the_same(
    trainer: Trainer, recipe: str, start: Start, tmp_path: Path
) -> None:
    trainer = replace(trainer, recipe=replace(trainer.recipe, **RECIPES[recipe]))
    whole = trained(trainer, start, None).state_dict()
    checkpoint = Checkpoint(str(tmp_path / "unfinished.safetensors"), "this one")
    for epochs in (1, 2):  # killed after the first, then after the third
        trained(trainer, start, checkpoint, epochs)
    assert epochs_kept(checkpoint) == 3
    found = trained(trainer, start, checkpoint).state_dict()
    assert whole.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in whole.items())
    other = replace(checkpoint, identity="another one")
    assert epochs_kept(other) == 0
    again = trained(trainer, start, other).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items()), "begun anew"


def test_what_is_damaged_or_cannot_be_written_is_no_reason_to_end(trainer: Trainer, tmp_path: Path) -> None:
    path = tmp_path / "unfinished.safetensors"
    checkpoint = Checkpoint(str(path), "this one")
    trained(trainer, FromScratch(), checkpoint, 2)
    content = path.read_bytes()
    for damaged in (content[:-100], b"", b"\x00" * 64, content[:8] + b"\xff" * 40 + content[48:]):
        path.write_bytes(damaged)
        assert epochs_kept(checkpoint) == 0
    trained(trainer, FromScratch(), checkpoint, 2)
    assert epochs_kept(checkpoint) == 2
    nowhere = Checkpoint(str(tmp_path / "nowhere" / "unfinished.safetensors"), "this one")
    trained(trainer, FromScratch(), nowhere)
    assert not Path(nowhere.path).exists()
