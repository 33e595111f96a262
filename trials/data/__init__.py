"""The public face of the data room: named datasets and image folders as uint8 tensors, and augmentation.

`import trials.data` is free of torch: every name is fetched from its module on first use (PEP 562), so that
configuration can be checked and `--help` printed without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trials.data.augmentation import augment, normalise
    from trials.data.config import KNOWN_DATA, DataConfig, DataError
    from trials.data.containers import ImageData, Split
    from trials.data.loading import load_data

__all__ = ["KNOWN_DATA", "DataConfig", "DataError", "ImageData", "Split", "augment", "load_data", "normalise"]

_HOME = {
    "KNOWN_DATA": "config",
    "DataConfig": "config",
    "DataError": "config",
    "ImageData": "containers",
    "Split": "containers",
    "augment": "augmentation",
    "load_data": "loading",
    "normalise": "augmentation",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come through here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
