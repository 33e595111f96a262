"""The rivals of the trials benchmark train on what ours trains on, in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.rivals import Loop, OrdinaryLoop, TunedLoop
from trials.data import DataConfig, ImageData, load_data, normalise
from trials.seeds import derive, generator

IMAGES, BATCH_SIZE, PAD, SEED = 70, 16, 4, 5


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=IMAGES))


@pytest.fixture(scope="module")
def job(data: ImageData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path: Path = tmp_path_factory.mktemp("rivals") / "images.npz"
    np.savez(
        path, train_images=data.train.images.numpy(), train_labels=data.train.labels.numpy(),
        val_images=data.val.images.numpy(), val_labels=data.val.labels.numpy(),
    )  # fmt: skip
    recipe = {"crop_padding": PAD, "batch_size": BATCH_SIZE}
    return {"images": str(path), "mean": list(data.mean), "std": list(data.std), "recipe": recipe}


@pytest.fixture(params=[OrdinaryLoop, TunedLoop])
def loop(request: pytest.FixtureRequest, job: dict[str, Any]) -> Loop:
    made: Loop = request.param(job)
    return made


def normalised(images: Tensor, data: ImageData) -> Tensor:
    return normalise(images, torch.tensor(data.mean), torch.tensor(data.std))


def test_an_epoch_is_of_crops_and_flips_of_our_images_in_our_order(loop: Loop, data: ImageData) -> None:
    order = torch.randperm(IMAGES, generator=generator(SEED, "order", 1))[: IMAGES // BATCH_SIZE * BATCH_SIZE]
    batches = list(loop.epoch(derive(SEED, "order", 1)))
    assert [len(labels) for _, labels in batches] == [BATCH_SIZE] * (IMAGES // BATCH_SIZE)
    inputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert labels.tolist() == data.train.labels[order].tolist()
    which = set()
    for image, source in zip(inputs, normalised(data.train.images[order], data), strict=True):
        crops = F.pad(source, (PAD,) * 4, mode="reflect")[0].unfold(0, 28, 1).unfold(1, 28, 1).reshape(-1, 28, 28)
        candidates = torch.cat([crops, crops.flip(2)])
        distances = (candidates - image).abs().amax(dim=(1, 2))
        assert distances.min() < 1e-5
        which.add(int(distances.argmin()))
    assert len(which) > len(order) / 2  # drawn for each image, not for a batch


def test_what_is_held_out_is_normalised_as_ours(loop: Loop, data: ImageData) -> None:
    inputs, labels = (torch.cat(parts) for parts in zip(*loop.held_out(), strict=True))
    torch.testing.assert_close(inputs, normalised(data.val.images, data))
    assert labels.tolist() == data.val.labels.tolist()
