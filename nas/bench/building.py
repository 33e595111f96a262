"""`nas bench build`: trains what a table wants and its record lacks. One training a row, of an ordinary record.

By the one path of all trainings: wanted − known → engine → record. What was recorded is not trained again, so the same
command goes on, here or on another machine that begins from the table as it was packed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from safetensors.torch import load

from nas.bench.editions import Edition, Row, Schedule, rows
from nas.engines.engine import open_engine
from nas.engines.interruption import Interruption
from nas.session.admission import open_store
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from nas.telling import Narrator
from nas.trainings.prepared import Prepared, make_space, prepare
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import TrainingSource, complete_plan
from search_spaces.loading import load_weights
from search_spaces.networks import InputSpec
from trials.judge import TrialPlan
from trials.machine import device as devices
from trials.machine.quiet import occupied
from trials.readings import Images
from trials.record.file import FILE_NAME
from trials.record.images import write_images
from trials.record.training import Training


@dataclass(frozen=True)
class Progress:
    """How far a table is: trainings that are there, of those wanted, and those that failed."""

    there: int
    wanted: int
    failed: int


@dataclass(frozen=True)
class Site:
    """Where a table is built: its images as a search names them, its record's folder, and settings of what trains
    there, an engine and its workers."""

    data: str
    out: Path
    place: Mapping[str, Any] = field(default_factory=dict)


def configuration(edition: Edition, site: Site, schedule: Schedule | None = None) -> SearchConfig:
    """Of the edition's record; of one of its schedules where that is given."""
    schedule = schedule or edition.tuned
    training = {"training.regime": schedule.regime, "training.epochs": schedule.epochs}
    if schedule.regime == "inherit":
        training["training.parent_epochs"] = edition.parent_epochs
    return load_config(None, {**edition.settings, **site.place, **training, "data": site.data, "out": str(site.out)})


def build(
    edition: Edition,
    site: Site,
    begin: Callable[[Prepared, RunRecord], None],
    narrator: Narrator,
    interruption: Interruption,
) -> Progress:
    """Train what is missing in the record at the site, which is made where there is none: `begin` may put into the new
    one what is known from elsewhere.

    Raises:
        ConfigError: the data or the space are not those of the record.
        StoreError: it cannot be used. ParentError: there is nothing to start from.
        Interrupted: every ended training is recorded.
    """
    out, prepared = site.out, prepare(configuration(edition, site), narrator.say)
    new = not (out / FILE_NAME).exists()
    if new:
        open_store(out, prepared, prepared.baseline, None, narrator.say).close()
    with RunRecord.open(out) as record:
        record.check(prepared)
        if new:
            begin(prepared, record)
        wanted = list(rows(edition, prepared.space))
        todo = list(missing(wanted, record.known()))
        if todo:
            narrator.say(f"{len(todo)} of {len(wanted)} trainings are missing in {out}")
            _train(edition, site, todo, prepared, record, narrator, interruption)
        left = len(list(missing(wanted, record.known())))
        failed = sum(training.error is not None for training in record.known())
        return Progress(len(wanted) - left, len(wanted), failed)


@dataclass(frozen=True)
class Outlook:
    """What is wanted and missing, by the schedules' names in their order; `images` are those that the missing train."""

    space: str
    architectures: int
    seeds: int
    wanted: Mapping[str, int]
    missing: Mapping[str, int]
    images: Mapping[str, int]


def outlook(edition: Edition, known: Iterable[Training]) -> Outlook:
    """What a build would do, without its data and its device."""
    settings = configuration(edition, Site("fashion-mnist-mini", Path("none")), edition.truth)
    spec = InputSpec(3, settings.image_size or 32, 10)
    wanted = list(rows(edition, make_space(settings, spec)))
    left = Counter(row.schedule.name for row in missing(wanted, known))
    whole = dict(Counter(row.schedule.name for row in wanted))
    per_epoch = int(edition.settings["train_images"])
    return Outlook(
        settings.space, len({row.wanted.architecture for row in wanted}), edition.seeds, whole,
        {name: left[name] for name in whole},
        {name: left[name] * Schedule.parse(name).epochs * per_epoch for name in whole},
    )  # fmt: skip


def missing(wanted: Iterable[Row], known: Iterable[Training]) -> Iterator[Row]:
    """What is not known, in its order. All of one record that inherit start from the same parent."""
    there = {(*training.look, training.start.partition(":")[0]) for training in known if training.known}
    for row in wanted:
        if (*row.wanted.identity("")[:3], row.schedule.regime) not in there:
            yield row


def _train(
    edition: Edition,
    site: Site,
    todo: list[Row],
    prepared: Prepared,
    record: RunRecord,
    narrator: Narrator,
    interruption: Interruption,
) -> None:
    with (
        open_engine(prepared.config, interruption, narrator.say) as engine,
        narrator.counting(len(todo)) as tell,
    ):
        for schedule, group in groupby(todo, key=lambda row: row.schedule):
            here = under(prepared, configuration(edition, site, schedule))
            plan = complete_plan(here.plan(), here, record, engine, narrator.say)
            read = _Reader(here, plan, site.out) if schedule == edition.truth else None
            wanted = [row.wanted for row in group]
            interruption.check()
            source = TrainingSource(wanted, plan.start.name, here, record, tell, interruption, keep=read)
            engine.run(plan, source)


def under(prepared: Prepared, config: SearchConfig) -> Prepared:
    """The same data, space and costs under another recipe."""
    return replace(prepared, config=config, trainer=replace(prepared.trainer, recipe=config.training.recipe()))


class _Reader:
    """Keeps what trained networks make of each validation image."""

    def __init__(self, prepared: Prepared, plan: TrialPlan, out: Path) -> None:
        self._device = devices.resolve(plan.device)
        self._space = prepared.space
        self._trainer = prepared.trainer.on(self._device, plan.data_memory * devices.memory_bytes(self._device))
        self._out = out

    def __call__(self, training: Training, weights: bytes) -> None:
        network = self._space.build(training.architecture)
        load_weights(network, load(weights), training.architecture.key)
        devices.on_device(network, self._device)
        with occupied(devices.synchronise(self._device), device=devices.lock_name(self._device)) as machine:
            readings = self._trainer.read_images(network, machine)
        losses = readings.losses.numpy().astype("float16")
        write_images(images_path(self._out, training), Images(readings.right.numpy(), losses))


def images_path(folder: Path, training: Training) -> Path:
    """Where the readings of a training of the truth are."""
    return folder / "images" / f"{training.architecture.key}-{training.seed}-{training.epochs}.npz"
