"""Random streams, derived from (seed, purpose, …) alone: never from time or order of arrival."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derive(0, "order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose; the same numbers reach every device."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


@contextmanager
def drawing(device: torch.device, seed: int, *purpose: str | int) -> Iterator[None]:
    """What a network's own code draws meanwhile (dropout, stochastic depth) follows from the seed and purpose alone.

    That is whatever draws from the process's streams: torch's of the CPU and of `device`, numpy's and Python's. They
    are left as they were found: what is drawn here is seen by nobody else, and nobody else's is seen here.
    """
    derived = derive(seed, *purpose)
    gpus = [_index(device)] if device.type == "cuda" else []
    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(gpus):
        torch.default_generator.manual_seed(derived)
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(derived)
        random.seed(derived)
        np.random.seed(derived % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
