"""Loaded data go to another process whole: the same bytes, as buffers of their own."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from trials.data import DataConfig, ImageData, SceneConfig, SceneData, load_data, load_scenes
from trials.data.shipped import ShippedData
from trials.training.trainer import make_trainer
from trials.trial import Recipe

CONFIGS = (
    DataConfig(train_images=64),
    SceneConfig(train_images=32),
    SceneConfig(train_images=32, targets="semantic"),
)


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if type(one).__module__.startswith("trials.data."):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))  # type: ignore[arg-type]
    return one == other


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_they_arrive_as_they_were_and_their_images_are_not_copied(config: DataConfig | SceneConfig) -> None:
    data: ImageData | SceneData = load_data(config) if isinstance(config, DataConfig) else load_scenes(config)
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(ShippedData(data), protocol=5, buffer_callback=buffers.append)
    images = sum(split.images.nbytes for split in (data.train, data.val, data.test) if split is not None)
    assert sum(one.raw().nbytes for one in buffers) >= images
    assert len(small) < 200_000
    # As an object store gives them: memory that must not be written to.
    there = pickle.loads(small, buffers=[one.raw().toreadonly() for one in buffers]).load()
    assert type(there) is type(data)
    assert same(data, there)
    assert there.train.images.untyped_storage().data_ptr() == data.train.images.untyped_storage().data_ptr()


def test_what_was_shipped_is_trained_on_like_what_was_loaded() -> None:
    data = load_data(DataConfig(train_images=64))
    assert make_trainer(ShippedData(data), Recipe()).data is data
    with pytest.raises(ValueError, match="does not go with"):
        make_trainer(ShippedData(load_scenes(SceneConfig(train_images=32))), Recipe())
