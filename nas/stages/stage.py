"""A stage of a search: says what is missing, and does it. Going on with a search is running its stages again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nas.engines.engine import Engine
from nas.engines.interruption import Interruption
from nas.planning.planner import Planner
from nas.registry import STAGES, load
from nas.settings.search import SearchConfig
from nas.telling import Progress
from nas.trainings.prepared import Prepared
from reports.view import RunView
from trials.judge import TrialPlan
from trials.record.store import Store


@dataclass
class Search:
    """What the stages of one session work on. `plan` is what all trainings have in common: a stage may complete it.
    `planner` says whether another training may begin."""

    folder: Path
    store: Store
    prepared: Prepared
    plan: TrialPlan
    engine: Engine
    progress: Progress
    interruption: Interruption
    planner: Planner

    @property
    def config(self) -> SearchConfig:
        return self.prepared.config

    @property
    def view(self) -> RunView:
        """The run as it is recorded now."""
        return RunView.of(self.folder, self.store)


class Stage(Protocol):
    """One part of a search. Every one of them is made without arguments, and guarantees that

    - what it does is recorded as it goes, so that after an interruption it does what is left;
    - what is recorded already it does not do again.
    """

    def missing(self, search: Search) -> bool:
        """Whether there is anything for it to do in this session."""

    def run(self, search: Search) -> None:
        """Do it. Raises Interrupted, everything saved."""


def stages() -> Iterator[Stage]:
    """The stages of a search in their order, see `nas.registry.STAGES`."""
    for place in STAGES.values():
        yield load(place)()
