"""`nas bench pilot`: trains what a pilot wants and its records lack; one training a row of an ordinary record.

Each way of starting has a record of its own in the pilot's folder, under its own configuration; all inherited networks
start from one parent, which stands beside them. By the one path of all trainings, so the same command goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from nas.bench.building import Progress, under
from nas.bench.pilot.plan import Pilot
from nas.bench.pilot.readings import FILE_NAME, ReadingsFile, Way
from nas.bench.pilot.watching import Watcher
from nas.engines.engine import Engine, open_engine
from nas.engines.interruption import Interruption
from nas.session.admission import open_store
from nas.settings.changes import differences
from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.telling import Narrator
from nas.trainings.parent import provide_parent
from nas.trainings.precision import in_precision
from nas.trainings.prepared import Prepared, named_briefly, prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.sameness import versions
from nas.trainings.trainings import TrainingSource, Wanted, complete_plan
from reports.view import RunView
from trials.data import ImageData
from trials.errors import StoreDamaged
from trials.judge import TrialPlan
from trials.record.file import FILE_NAME as RECORD_NAME
from trials.record.file import PARENT_NAME
from trials.record.training import Training


@dataclass(frozen=True)
class Outlook:
    """What a pilot would do: trainings that are wanted and missing, and images that the missing train, by the ways'
    names in their order."""

    architectures: int
    seeds: int
    wanted: Mapping[str, int]
    missing: Mapping[str, int]
    images: Mapping[str, int]


def outlook(pilot: Pilot, out: Path, narrator: Narrator) -> Outlook:
    """Loads the data, trains nothing. Raises ConfigError, and what `prepare` raises."""
    prepared = _prepared(pilot, out, narrator)
    known = {way.folder: _known(out / way.folder) for way in pilot.ways()}
    wanted: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for way, group in pilot.groups(prepared.space):
        wanted[way.name] += len(group)
        missing[way.name] += len(list(_missing(way, group, known[way.folder])))
    images = {way.name: missing[way.name] * way.epochs * len(prepared.data.train) for way in pilot.ways()}
    drawn = len(next(pilot.groups(prepared.space))[1])
    return Outlook(drawn, pilot.seeds, dict(wanted), {name: missing[name] for name in wanted}, images)


def run_pilot(pilot: Pilot, out: Path, narrator: Narrator, interruption: Interruption) -> Progress:
    """Train what is missing in the folder `out`, which is made where there is none, and read each training there.

    Raises:
        ConfigError, BenchError: what is there is of another task or of other settings.
        StoreError: a record cannot be used, or readings are lost. ParentError: there is nothing to start from.
        Interrupted: every ended training is recorded.
    """
    prepared = _prepared(pilot, out, narrator)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        running = _Running(pilot, out, prepared, narrator, interruption, stack)
        todo = [(way, left) for way, group in pilot.groups(prepared.space) if (left := running.missing(way, group))]
        total = sum(len(left) for _, left in todo)
        if total:
            narrator.say(f"{total} trainings are missing in {out}")
            running.train(todo, total)
        wanted = list(chain.from_iterable(group for _, group in pilot.groups(prepared.space)))
        lacking = sum(len(running.missing(way, group)) for way, group in pilot.groups(prepared.space))
        return Progress(len(wanted) - lacking, len(wanted), running.failed)


class _Running:
    """The records of a pilot, open, and what its ways have in common, made as it is needed."""

    def __init__(
        self, pilot: Pilot, out: Path, prepared: Prepared, narrator: Narrator, interruption: Interruption,
        stack: ExitStack,
    ) -> None:  # fmt: skip
        self._pilot, self._out, self._prepared = pilot, out, prepared
        self._narrator, self._interruption = narrator, interruption
        self._records = {folder: self._opened(way, stack) for folder, way in _by_folder(pilot).items()}
        self._file = ReadingsFile(out / FILE_NAME, _header(prepared))
        for way in _by_folder(pilot).values():
            self._check_read(way)
        self._watched: dict[Way, tuple[Prepared, TrialPlan, Watcher]] = {}

    @property
    def failed(self) -> int:
        return sum(t.error is not None for record in self._records.values() for t in record.known())

    def missing(self, way: Way, group: list[Wanted]) -> list[Wanted]:
        return list(_missing(way, group, self._records[way.folder].known()))

    def _check_read(self, way: Way) -> None:
        """Each is read before it is recorded. Raises StoreDamaged where the readings of one are not there any more."""
        for training in self._records[way.folder].known():
            if training.error is None and (way_of(way, training), *_key(training)) not in self._file:
                raise StoreDamaged(
                    f"{self._file.path} lacks a training that {self._out / way.folder} has recorded "
                    f"({training.architecture.key}, seed {training.seed}): restore it, or give another --out"
                )

    def train(self, todo: list[tuple[Way, list[Wanted]]], total: int) -> None:
        config = self._pilot.base.model_copy(update={"out": str(self._out)})
        with (
            open_engine(config, self._interruption, self._narrator.say) as engine,
            self._narrator.counting(total) as tell,
        ):
            for way, group in todo:
                if way not in self._watched:
                    self._watched[way] = self._made(way, engine)
                prepared, plan, watcher = self._watched[way]
                self._interruption.check()
                record = self._records[way.folder]
                source = TrainingSource(
                    group, plan.start.name, prepared, record, tell, self._interruption, keep=watcher
                )
                engine.run(plan, source)

    def _made(self, way: Way, engine: Engine) -> tuple[Prepared, TrialPlan, Watcher]:
        if way.regime == "inherit" and self._parent is not None and not self._parent.exists():
            self._make_parent(engine)
        prepared = under(self._prepared, self._configuration(way))
        record = self._records[way.folder]
        if record.precision is None and not record.known() and (shared := self._precision(engine)) is not None:
            record.put({"precision": shared})
        plan = complete_plan(prepared.plan(), prepared, record, engine, self._narrator.say)
        return prepared, plan, Watcher(way, prepared, plan, self._file)

    def _precision(self, engine: Engine) -> Mapping[str, Any] | None:
        """Of all ways that of the truth: what trains in another is judged by that too."""
        truth = self._pilot.truth
        prepared = under(self._prepared, self._configuration(truth))
        complete_plan(prepared.plan(), prepared, self._records[truth.folder], engine, self._narrator.say)
        return self._records[truth.folder].precision

    @cached_property
    def _parent(self) -> Path | None:
        """Of all inherited networks, whatever their rates; None where the settings name one."""
        return None if "training.parent" in self._pilot.settings else self._out / PARENT_NAME

    def _make_parent(self, engine: Engine) -> None:
        assert self._parent is not None
        way = next(way for way in self._pilot.ways() if way.regime == "inherit")
        prepared = under(self._prepared, self._pilot.configuration(way, self._out))
        plan = in_precision(prepared.plan(), self._precision(engine))
        provide_parent(prepared, plan, self._parent, None, engine, self._narrator.say)

    def _configuration(self, way: Way) -> SearchConfig:
        return self._pilot.configuration(way, self._out, self._parent)

    def _opened(self, way: Way, stack: ExitStack) -> RunRecord:
        """Raises ConfigError where what was recorded is of other settings."""
        folder = self._out / way.folder
        prepared = under(self._prepared, self._configuration(way))
        if not (folder / RECORD_NAME).exists():
            open_store(folder, prepared, prepared.baseline, None, self._narrator.say).close()
        record = stack.enter_context(RunRecord.open(folder))
        record.check(prepared)
        changed = differences(record.view.config, prepared.config.to_json())
        changed.pop("training.epochs", None)
        if changed:
            shown = "; ".join(f"{key}: recorded {old!r}, given {new!r}" for key, (old, new) in changed.items())
            raise ConfigError(f"{folder} is of a pilot with other settings ({shown}): give another --out")
        return record


def way_of(way: Way, training: Training) -> Way:
    """That of a training in the record of `way`, which has all epochs."""
    return Way(way.regime, training.epochs, way.peak_lr, way.fusion_lr_scale)


def _key(training: Training) -> tuple[str, int]:
    return training.architecture.key, training.seed


def _missing(way: Way, group: list[Wanted], known: tuple[Training, ...] | list[Training]) -> Iterator[Wanted]:
    there = {training.look for training in known if training.known}
    yield from (wanted for wanted in group if wanted.identity("")[:3] not in there)


def _known(folder: Path) -> tuple[Training, ...]:
    return RunView.load(folder).trainings if (folder / RECORD_NAME).exists() else ()


def _by_folder(pilot: Pilot) -> dict[str, Way]:
    """One of the ways that share each record."""
    return {way.folder: way for way in reversed(pilot.ways())}


def _prepared(pilot: Pilot, out: Path, narrator: Narrator) -> Prepared:
    """By the truth's settings. Raises ConfigError where the task has no one answer for each image."""
    prepared = prepare(pilot.configuration(pilot.truth, out), narrator.say)
    if not isinstance(prepared.data, ImageData):
        raise ConfigError(f"--data: a pilot reads the answer to each image, and {prepared.config.data} are scenes")
    return prepared


def _header(prepared: Prepared) -> dict[str, Any]:
    found = versions()
    found.pop("host", None)
    return {
        "network": prepared.space.name, "space": prepared.space.fingerprint, "data": prepared.data.fingerprint,
        "data_name": named_briefly(prepared.config.data), "train": len(prepared.data.train),
        "val": len(prepared.data.val), **found,
    }  # fmt: skip
