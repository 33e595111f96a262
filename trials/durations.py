"""Times as people write them, in settings and so in records: read as seconds."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def read_hours(text: str) -> float:
    """`2`, `0.5`, `2h`, `90min`, `1.5d` in seconds, above 0: hours where no unit stands. Raises ValueError for anything
    else."""
    try:
        return read_seconds(text if text.strip()[-1:].isalpha() else f"{text}h")
    except ValueError:
        raise ValueError("expected hours above 0 such as 2 or 0.5, or a time such as 90min") from None


def read_seconds(text: str) -> float:
    """`2h`, `90min`, `1.5d` in seconds, above 0. Raises ValueError for anything else."""
    match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|min|m|h|d)\s*", text)
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    if seconds <= 0:
        raise ValueError("expected a time such as 90min, 2h or 1.5d")
    return seconds
