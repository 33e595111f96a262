"""Values as source."""

from __future__ import annotations

import math
from typing import Any

import torch

from nas.export.errors import ExportError


def literal(value: Any) -> str:
    """A value as source, with double quotes as a formatter would have them. Raises ExportError for any other kind."""
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or type(value) in (bool, int, float) or isinstance(value, torch.dtype | torch.Size | torch.device):
        return f"torch.{value!r}" if isinstance(value, torch.device) else repr(value)
    if type(value) is str:
        text = repr(value)
        return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text
    if type(value) in (tuple, list):
        inner = ", ".join(map(literal, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"({inner})" if type(value) is tuple else f"[{inner}]"
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    raise ExportError(f"the network is built with {value!r}: use numbers, text, tuples, classes or functions")
