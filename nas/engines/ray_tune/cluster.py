"""What the cluster has, and Ray's start on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray


@contextmanager
def away() -> Iterator[None]:
    """Ray makes the folder where it starts the first that workers import from, in which a file may be called as one of
    our packages. Meanwhile we stand where those are; where they are installed, workers find them by themselves."""
    before, home = Path.cwd(), Path(__file__).resolve().parents[3]
    installed = home.name in ("site-packages", "dist-packages")
    os.chdir(sys.prefix if installed else home)
    try:
        yield
    finally:
        os.chdir(before)


def shown(resources: dict[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU"))


def cluster_resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
