"""Loaded data as they go to another process: arrays in place of tensors, which processes may share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.data.images import ImageData, Split
from trials.data.scenes import SceneData, SceneSplit


class DataSource(Protocol):
    """Gives data that somebody else has loaded. Part of a plan, so it can be pickled."""

    def load(self) -> ImageData | SceneData:
        """The data. Raises DataError where they are not to be had any more."""


@dataclass(frozen=True, eq=False)
class ShippedData:
    """Data that were loaded here, for processes that cannot read them.

    Pickled by protocol 5 all images are buffers of their own: what keeps these in memory that processes share (Ray's
    object store does) has them once a machine. They may be read-only there: nobody writes into images.
    """

    data: ImageData | SceneData

    def load(self) -> ImageData | SceneData:
        return self.data

    def __reduce__(self) -> tuple[Callable[[Any], ShippedData], tuple[Any]]:
        return _unpacked, (_packed(self.data),)


@dataclass(frozen=True, eq=False)
class _Array:
    """A tensor as an array."""

    array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Made:
    """An object as its class and fields."""

    kind: type
    fields: dict[str, Any]


def _packed(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Array(np.ascontiguousarray(value.cpu().numpy()))
    if isinstance(value, (ImageData, SceneData, Split, SceneSplit)):
        return _Made(type(value), {one.name: _packed(getattr(value, one.name)) for one in fields(value)})
    return value


def _unpacked(packed: Any) -> ShippedData:
    return ShippedData(_restored(packed))


def _restored(value: Any) -> Any:
    if isinstance(value, _Array):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(value.array)
    if isinstance(value, _Made):
        return value.kind(**{name: _restored(inner) for name, inner in value.fields.items()})
    return value
