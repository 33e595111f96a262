"""Python's collector of cyclic garbage, left out where hundreds of thousands of objects are made that all stay."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """It looks at nothing inside: again and again at all that is there takes a third of reading a large record."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def uncollected_to_the_end() -> None:
    """For a process that reads, prints and ends: not at its end either, when Python looks at everything once more."""
    gc.disable()
    atexit.register(gc.freeze)
