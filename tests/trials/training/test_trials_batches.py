"""An epoch's batches: as they were by default, and each augmentation apart from the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trials.data import DataConfig, ImageData, augment, load_data, normalise
from trials.machine.device import has_bf16
from trials.machine.quiet import occupied
from trials.seeds import generator
from trials.tasks.batches import Batch, Batches
from trials.training.loop import train
from trials.training.step import make_optimiser
from trials.training.trainer import resident
from trials.trial import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=100))


def batches(data: ImageData, recipe: Recipe, seed: int = 3, epoch: int = 1) -> list[Batch]:
    made = Batches(data, recipe, CPU)
    return [made.make(draws) for draws in made.draw(seed, epoch)]


def test_by_default_training_is_what_it_was_to_the_bit(data: ImageData) -> None:
    """The loop as it was before there were other augmentations, written out."""
    torch.manual_seed(0)
    network, reference = (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for _ in range(2))
    reference.load_state_dict(network.state_dict())
    with occupied() as machine:
        found = [point.train_loss for point in train(network, data, RECIPE, 5, machine)]
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    optimiser = make_optimiser(reference, RECIPE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=6, pct_start=RECIPE.warmup_fraction,
        cycle_momentum=False,
    )  # fmt: skip
    losses = []
    for epoch in range(2):
        order = torch.randperm(100, generator=generator(5, "order", epoch))
        randomness = generator(5, "augmentation", epoch)
        total = torch.zeros(())
        for places in order[:96].chunk(3):
            shifts = torch.rand((3, len(places)), generator=randomness)
            images = augment(data.train.images[places], shifts, RECIPE.crop_padding, RECIPE.flip)
            inputs = normalise(images, mean, std).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(CPU)):
                logits = reference(inputs)
            loss = F.cross_entropy(logits.float(), data.train.labels[places], label_smoothing=RECIPE.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        losses.append(float(total) / 3)
    assert found == losses
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, reference.state_dict()[name])


def test_the_same_seed_and_epoch_give_the_same_batches(data: ImageData) -> None:
    recipe = replace(RECIPE, cutout=8, colour=0.4, mixup=0.2)
    first, again, other = (batches(data, recipe, epoch=epoch) for epoch in (1, 1, 2))
    for one, same, another in zip(first, again, other, strict=True):
        assert torch.equal(one.inputs, same.inputs)
        assert (one.share, one.labels.tolist()) == (same.share, same.labels.tolist())
        assert one.share != another.share
    assert [len(batch.labels) for batch in first] == [32, 32, 32]


def test_what_is_drawn_does_not_depend_on_how_much_it_is_used(data: ImageData) -> None:
    """Candidates stay in step whatever the padding."""
    for recipe in (RECIPE, replace(RECIPE, crop_padding=0), replace(RECIPE, flip=False, crop_padding=1)):
        draws = [draws.shifts for draws in Batches(data, recipe, CPU).draw(3, 1)]
        expected = torch.rand((3, 32), generator=generator(3, "augmentation", 1))
        assert draws[0] is not None
        assert torch.equal(draws[0], expected)


def test_one_augmentation_more_leaves_the_others_as_they_are(data: ImageData) -> None:
    plain = batches(data, RECIPE)
    cut = batches(data, replace(RECIPE, cutout=8))
    both = batches(data, replace(RECIPE, cutout=8, colour=0.5))
    for one, holed, coloured in zip(plain, cut, both, strict=True):
        assert one.labels.equal(holed.labels)
        hole = holed.inputs != one.inputs
        assert 0.01 < hole.float().mean() < 64 / 784 + 1e-6
        assert torch.equal(holed.inputs[~hole], one.inputs[~hole])
        assert (holed.inputs[hole] == 0).all()
        assert (coloured.inputs[hole] == 0).all()
        assert not torch.equal(coloured.inputs, holed.inputs)


def test_mixed_images_are_judged_by_both_labels(data: ImageData) -> None:
    plain, mixed = (batches(data, replace(RECIPE, mixup=alpha)) for alpha in (0.0, 1.0))
    logits = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
    for one, batch in zip(plain, mixed, strict=True):
        assert batch.others is not None
        assert batch.share is not None
        assert 0 < batch.share < 1
        losses = [F.cross_entropy(logits, labels, label_smoothing=0.1) for labels in (batch.labels, batch.others)]
        expected = batch.share * losses[0] + (1 - batch.share) * losses[1]
        torch.testing.assert_close(batch.loss(logits), expected)
        torch.testing.assert_close(one.loss(logits), losses[0])
        partner = (batch.inputs - batch.share * one.inputs) / (1 - batch.share)  # each is an image of the same batch
        distances = torch.cdist(partner.flatten(1), one.inputs.flatten(1))
        assert distances.min(1).values.max() < 0.05
        assert one.labels[distances.argmin(1)].equal(batch.others)


def test_images_stay_where_they_are_when_they_are_too_many_for_the_device(data: ImageData) -> None:
    total = data.train.images.nbytes + data.val.images.nbytes
    away = torch.device("meta")
    assert resident(data, away, total).train.images.device == away
    assert resident(data, away, total).val.labels.device == away
    assert resident(data, away, total - 1) is data
    made = Batches(data, replace(RECIPE, crop_padding=0, flip=False), away)
    assert not made.resident
    assert Batches(data, RECIPE, CPU).resident
    (draws, *_) = made.draw(0, 0)
    assert [len(tensor) for tensor in draws.tensors()] == [32]  # nothing is drawn that nobody asks for
    first = made.make(draws)
    assert first.inputs.device == first.labels.device == away
