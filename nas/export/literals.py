"""Values as source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from nas.export.errors import ExportError


def literal(value: Any, other: Callable[[Any], str | None] = lambda value: None) -> str:
    """A value as source, with double quotes as a formatter would have them.

    `other` says what it can of values that are no numbers, text or collections of such, and None of the rest.
    Raises ExportError for these.
    """

    def inner(part: Any) -> str:
        return literal(part, other)

    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or type(value) in (bool, int, float) or isinstance(value, torch.dtype | torch.Size | torch.device):
        return f"torch.{value!r}" if isinstance(value, torch.device) else repr(value)
    if type(value) is str:
        text = repr(value)
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if type(value) in (tuple, list):
        items = ", ".join(map(inner, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"({items})" if type(value) is tuple else f"[{items}]"
    if type(value) is dict:
        return "{" + ", ".join(f"{inner(key)}: {inner(item)}" for key, item in value.items()) + "}"
    said = other(value)
    if said is not None:
        return said
    raise ExportError(f"the network is built with {value!r}: use numbers, text, tuples, classes or functions")
