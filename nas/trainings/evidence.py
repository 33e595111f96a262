"""What counts of other runs, `--from RUN`: read from their records as they are, held against what is searched now."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.settings.changes import differences
from nas.settings.errors import ConfigError
from nas.trainings.prepared import Prepared, describe
from nas.trainings.sameness import changed_versions
from reports.evidence import evidence_text
from reports.view import RunView
from search_spaces.errors import SpaceError
from search_spaces.space import SearchSpace
from trials.errors import StoreDamaged, StoreError
from trials.record.evidence import DIFFERENCES, Evidence
from trials.record.file import FILE_NAME
from trials.record.training import Training

#: Trainings that all other runs together may bring: more cost every proposal time and say hardly more.
MOST = 300
#: What says itself which weights a training began with, and for how long: its start and epochs.
_IN_A_FIDELITY = ("training.epochs", "training.regime", "training.parent", "training.parent_epochs")
#: Why a training does not count.
NOT_OFFERED, NOT_IN_SPACE, TOO_MANY = (
    "of operators that are not offered", "of choices that this space lacks", "beyond the best and a sample",
)  # fmt: skip


def gathered(
    prepared: Prepared, folder: Path, recorded: RunView | None, say: Callable[[str], None]
) -> tuple[Evidence, ...]:
    """What counts of each run that the configuration names: what the run in `folder` has recorded of it, else read now.

    Raises:
        ConfigError: it is no run, this run itself, or of another task or network; or none of its trainings counts.
        StoreDamaged, StoreError: its record cannot be read.
    """
    named = list(dict.fromkeys(prepared.config.from_runs))
    kept = {one.run: one for one in (() if recorded is None else recorded.evidence)}
    found: dict[str, Evidence] = {}
    for place in named:
        one = kept.get(place) or _held_against(_read(place, folder, recorded), place, prepared, MOST // len(named))
        if one.identity in found:
            say(f"from {place}: it is the same run as {found[one.identity].run}, and counts once")
            continue
        found[one.identity] = one
        if place not in kept:
            say(evidence_text(one))
    return tuple(found.values())


def _read(place: str, folder: Path, recorded: RunView | None) -> RunView:
    if Path(place).resolve() == folder.resolve():
        raise ConfigError(f"--from: {place} is this run itself: leave it out")
    if not (Path(place) / FILE_NAME).is_file():
        raise ConfigError(f"--from: {place} holds no run (no {FILE_NAME}): give the folder of one")
    try:
        view = RunView.load(place)
    except StoreDamaged as error:
        raise StoreDamaged(f"--from: {error}; or leave it out") from None
    except StoreError as error:
        raise StoreError(f"--from: {error}") from None
    if recorded is not None and _identity(view) == _identity(recorded):
        raise ConfigError(f"--from: {place} is a copy of this run itself: leave it out")
    return view


def _held_against(view: RunView, place: str, prepared: Prepared, most: int) -> Evidence:
    from trials.estimates.looks import worth_conditioning_on  # with scipy, which takes a while

    space = prepared.space
    if view.task != prepared.config.task:
        raise ConfigError(
            f"--from: {place} is a run of {view.task}, this is one of {prepared.config.task}: give runs of one task"
        )
    _check_points(view, place, space)
    scored = [training for training in view.trainings if training.score is not None]
    if not scored:
        raise ConfigError(f"--from: {place} has no training with a score yet: nothing of it can count")
    fitting, left_out = _translated(scored, space)
    if not fitting:
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        raise ConfigError(f"--from: {place}: none of its {len(scored)} trainings counts for {space.name} ({reasons})")
    trainings = worth_conditioning_on(fitting, most)
    if len(trainings) < len(fitting):
        left_out[TOO_MANY] = len(fitting) - len(trainings)
    return Evidence(
        place, _identity(view), _differences(view, prepared), len(scored), left_out, tuple(trainings)
    )  # fmt: skip


def _check_points(view: RunView, place: str, space: SearchSpace) -> None:
    """Raises ConfigError where its fusion points are others: no choice of it is one here."""
    theirs, ours = {point["name"] for point in view.description["points"]}, {point.name for point in space.points}
    if theirs != ours:
        raise ConfigError(
            f"--from: {place} searched {view.description['space']['name']}, whose fusion points are not those of "
            f"{space.name} ({min(theirs ^ ours)} is of one alone): give runs of this network"
        )


def _translated(trainings: Sequence[Training], space: SearchSpace) -> tuple[list[Training], dict[str, int]]:
    """Those of architectures of this space, as it writes them; and how many are not, by reason."""
    found: dict[Any, Training] = {}
    left_out: Counter[str] = Counter()
    for training in trainings:
        choices = training.architecture.choices
        if not {choice.op for choice in choices.values()} <= set(space.operators):
            left_out[NOT_OFFERED] += 1
            continue
        try:
            here = space.architecture(choices)
        except SpaceError:
            left_out[NOT_IN_SPACE] += 1
            continue
        one = Training(
            here, training.seed, training.epochs, training.start, score=training.score, loss=training.loss,
            tempered_loss=training.tempered_loss, images=training.images,
        )  # fmt: skip
        found.setdefault(one.identity, one)  # two ratios of there may be one here
    return list(found.values()), dict(left_out)


def _differences(view: RunView, prepared: Prepared) -> tuple[str, ...]:
    """What it has otherwise than this run, of `DIFFERENCES`."""
    ours, theirs = describe(prepared), view.description
    settings = differences(view.config, prepared.config.to_json())
    found = {
        "versions": bool(list(changed_versions(theirs.get("environment") or {}))),
        "operators' settings": any(key.startswith("fusion.") for key in settings),
        "schedule": any(key.startswith("training.") and key not in _IN_A_FIDELITY for key in settings),
        "images": theirs["data"]["fingerprint"] != ours["data"]["fingerprint"],
        "network": _of(theirs["space"], "name", "code") != _of(ours["space"], "name", "code"),
        "data": _of(theirs["data"], "name", "classes") != _of(ours["data"], "name", "classes"),
    }
    return tuple(name for name in DIFFERENCES if found[name])


def _of(described: Mapping[str, Any], *names: str) -> list[Any]:
    return [described.get(name) for name in names]


def _identity(view: RunView) -> str:
    """8 hex digits that a run keeps wherever it lies."""
    began = [session.started_at for session in view.sessions[:1]]
    whole = [began, view.description["space"].get("fingerprint"), view.description["data"]["fingerprint"]]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:8]
