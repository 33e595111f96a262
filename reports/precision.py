"""The precision that trials were trained in, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.view import RunView


def precision_text(choice: Mapping[str, Any]) -> str:
    """`bfloat16, 1.62 times as fast here as float32`; the precision alone where nothing was measured."""
    speeds, precision = choice["images_per_second"], str(choice["precision"])
    if not speeds:
        return precision
    if "bfloat16" not in speeds:
        return "float32: bfloat16 cannot be trained in here"
    ratio = speeds["bfloat16"] / speeds["float32"]
    if precision == "bfloat16":
        return f"bfloat16, {ratio:.2f} times as fast here as float32"
    return f"float32: bfloat16 was {ratio:.2f} times as fast here"


def precision_story(view: RunView) -> list[str]:
    """A sentence where the precision of a run was chosen by a measurement."""
    choice = view.precision
    return [f"Trials trained in {precision_text(choice)}."] if choice and choice["images_per_second"] else []
