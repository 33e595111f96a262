"""Shapes are checked while the tests run: where they are annotated, and at every fusion of every network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from jaxtyping import install_import_hook

#: Whose annotations are checked at every call. A test names what it calls wrongly on purpose by its own types.
ANNOTATED = (
    "trials.data.augmentation",
    "trials.tasks.classification",
    "trials.tasks.segmentation",
    "trials.tasks.inputs",
)


def check_annotations() -> None:
    """From here on, in the modules above that were not imported yet."""
    install_import_hook(list(ANNOTATED), "beartype.beartype")


#: Not checked while anything is in it.
_WRONG_ON_PURPOSE: list[str] = []


@contextmanager
def wrong_on_purpose() -> Iterator[None]:
    """Fusions are not checked inside: what is tested is what the program makes of one that is wrong."""
    _WRONG_ON_PURPOSE.append("")
    try:
        yield
    finally:
        _WRONG_ON_PURPOSE.pop()


@cache
def check_fusions() -> None:
    """From here on in this process: what a fusion returns has the shape that its point promises."""
    from torch.nn.modules.module import register_module_forward_hook

    register_module_forward_hook(_check)


def _check(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
    if _WRONG_ON_PURPOSE or "fusion_point" not in vars(module):
        return
    import torch

    maps = [given for given in inputs if isinstance(given, torch.Tensor) and given.ndim == 4]
    sizes = [size for tensor in (*maps, output) for size in getattr(tensor, "shape", (None,))]
    if len(maps) < 2 or not all(type(size) is int for size in sizes):
        return  # what is traced has no sizes yet
    batch, channels, *place = maps[0].shape
    summed, concatenated = (batch, channels, *place), (batch, sum(given.shape[1] for given in maps), *place)
    allowed = {summed, concatenated} if len({given.shape[1] for given in maps}) == 1 else {concatenated}
    assert tuple(output.shape) in allowed, (
        f"{module.fusion_point}: maps {[tuple(given.shape) for given in maps]} were fused to {tuple(output.shape)}"
    )
