"""What an export of a searched network will hold, before anything is trained: some are made of untrained networks."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nas.export.errors import ExportError
from nas.export.exporting import export_network
from nas.export.trained import TrainedNetwork
from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.discovery import DiscoveredSpace
from search_spaces.discovery.reference import ReferencedDesign
from search_spaces.fusions import operator
from search_spaces.space import SearchSpace
from search_spaces.user_file import code_behind
from trials.whole_files import write_whole

_OURS = "search_spaces."
#: No further architecture is tried when this is over.
MAX_SECONDS = 90.0


def left_out(space: SearchSpace, announce: Callable[[str], None]) -> dict[str, str]:
    """The artefacts that cannot be made of the space's networks, each with the reason in one line.

    All-add is tried, then as few networks as every operator on offer stands in. Those of the catalogue with our
    operators are not: tests export each of them. What was found is kept by the space's fingerprint and its code's.
    """
    own = {name for name in space.operators if not operator(name).module.__module__.startswith(_OURS)}
    ours = type(space.design).__module__.startswith(_OURS) and not isinstance(space.design, ReferencedDesign)
    if not own and ours:
        return {}
    kept = None if isinstance(space, DiscoveredSpace) else _kept(space)  # one in memory has no file to know it by
    known = None if kept is None else _read(kept)
    if known is not None:
        return known
    announce("exporting untrained networks, to see what can be exported")
    found: dict[str, str] = {}
    until, whole = time.monotonic() + MAX_SECONDS, True
    for what, architecture in candidates(space):
        if time.monotonic() > until:
            announce(f"what becomes of {what} in an export is not tried: that took {MAX_SECONDS:.0f} s already")
            whole = False
            break
        for name, why in _tried(space, architecture).items():
            found.setdefault(name, why if what == "all-add" else f"{why} (with {what})")
    if whole and kept is not None:
        with suppress(OSError):  # DiskFull is one: it is then found out again the next time
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, json.dumps(found))
    return found


def _read(kept: Path) -> dict[str, str] | None:
    """What was found before; None where there is nothing that can be read."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def candidates(space: SearchSpace) -> Iterator[tuple[str, Architecture]]:
    """What is tried, each with a name for it: all-add, then as few as hold every operator on offer."""
    yield "all-add", space.baseline
    offered = {choice.op for point in space.points for choice in point.choices} - {"add"}
    left = tuple(name for name in space.operators if name in offered)
    while left:
        mixed = with_every_operator(space, left)
        placed = {choice.op for choice in mixed.choices.values()} & set(left)
        if not placed:  # tied points leave it no place
            return
        yield " and ".join(sorted(placed)), mixed
        left = tuple(name for name in left if name not in placed)


def with_every_operator(space: SearchSpace, operators: tuple[str, ...] | None = None) -> Architecture:
    """An architecture in which as many of the operators on offer stand as there are points, the costly ones first."""
    wanted = list(reversed(space.operators if operators is None else operators))
    choices: dict[str, FusionChoice] = {}
    chosen: dict[str, FusionChoice] = {}
    for point in space.points:
        if point.variable not in chosen:
            found = next((c for op in wanted for c in point.choices if c.op == op), point.choices[0])
            if found.op in wanted:
                wanted.remove(found.op)
            chosen[point.variable] = found
        choices[point.name] = chosen[point.variable]
    return space.architecture(choices)


def _tried(space: SearchSpace, architecture: Architecture) -> dict[str, str]:
    with torch.random.fork_rng(devices=[]), TemporaryDirectory(prefix="fusion-nas-check-") as folder:
        torch.manual_seed(0)
        weights = space.build(architecture).state_dict()
        classes = tuple(map(str, range(space.input.classes)))
        half = (0.5,) * space.input.channels
        trained = TrainedNetwork(space, architecture, weights, classes, half, half, {})
        try:
            found: dict[str, str] = export_network(trained, Path(folder) / "exported")["left_out"]
        except ExportError as error:
            return {"everything": str(error)}
    return found


def _kept(space: SearchSpace) -> Path:
    """Where what was found is kept: for this space, its code, these versions."""
    code = None if space.source is None else code_behind(space.source)
    own = [_code_of(name) for name in space.operators]
    known = [
        "every operator",
        space.fingerprint,
        code,
        own,
        *(version(name) for name in ("torch", "onnx", "onnxscript", "fusion-nas")),
    ]
    name = hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
    root = Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas").expanduser().absolute()
    return root / "exportable" / f"{name}.json"


def _code_of(name: str) -> str:
    """Of an operator of the user's, its file's content."""
    module = operator(name).module.__module__
    if module.startswith(_OURS):
        return name
    file = getattr(sys.modules.get(module), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file and Path(file).is_file() else name
