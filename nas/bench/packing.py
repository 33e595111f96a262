"""From a record to a table's file, and from that file to a record that goes on elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.bench.building import Site, configuration, images_path
from nas.bench.datasheet import datasheet
from nas.bench.editions import Edition, Schedule
from nas.bench.errors import BenchError
from nas.bench.table import TABLES
from nas.bench.table_file import Contents, read_table
from nas.settings.errors import ConfigError
from nas.trainings.prepared import Prepared
from nas.trainings.run_record import RunRecord
from reports.view import RunView
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.costs import CostTable
from trials.readings import Images
from trials.record.file import FILE_NAME
from trials.record.images import read_images, write_images
from trials.record.store import Store
from trials.record.training import Identity, Training

#: What the losses of all images together may take, of the 5 MB of a table: where they would take more, those of fewer
#: images are kept of each training.
_LOSS_BYTES = 3_300_000
#: Of the machine and its versions, whatever else a record has of them.
_VERSIONS = ("processor", "python", "fusion-nas", "torch", "torchvision", "numpy", "fvcore")

_DATA = ("channels", "image_size", "classes", "train", "val", "test", "fingerprint")


def contents_of(folder: Path, edition: Edition, over: Path | None = None) -> Contents:
    """The record of `nas bench build` in a folder, as a table's file holds it. The record may be being written. What
    was measured into a table at `over`, of the same space, stays.

    Raises:
        StoreError: the record, or readings beside it, cannot be used.
        BenchError: it is of another edition, or nothing is in it yet; or what is at `over` is no table.
    """
    with Store.open(folder / FILE_NAME) as store:
        view, latencies = RunView.of(folder, store), store.get("bench_latencies") or {}
    _check_edition(folder, edition, view)
    trainings = sorted((t for t in view.trainings if t.known), key=_order)
    if not trainings:
        raise BenchError(f"{folder} has no training yet: nas bench build trains some")
    images = _images(folder, edition.truth, trainings)
    space = SearchSpace.from_json({k: v for k, v in view.description["space"].items() if k != "fingerprint"})
    parent = folder / "parent.safetensors"
    if over is not None and over.exists():
        before = read_table(over).header
        if before["space"]["fingerprint"] == view.description["space"]["fingerprint"]:
            latencies = {**latencies, **before["latencies"]}
    header = {
        **_described(edition, view, space, trainings),
        "latencies": latencies,
        "datasheet": datasheet(edition, trainings, images),
    }
    return Contents(header, tuple(trainings), images, parent.read_bytes() if parent.exists() else b"")


def _check_edition(folder: Path, edition: Edition, view: RunView) -> None:
    expected = configuration(edition, Site(view.config["data"], folder)).to_json()
    for key in ("space", "operators", "reductions", "train_images", "val_fraction", "image_size", "training"):
        if view.config[key] != expected[key]:
            raise BenchError(
                f"{folder} is no record of edition {edition.name} ({key}: recorded {view.config[key]!r}, "
                f"expected {expected[key]!r}): give its own --edition"
            )


def _order(training: Training) -> tuple[str, int, str, int]:
    return training.start.partition(":")[0], training.epochs, training.architecture.key, training.seed


def _described(edition: Edition, view: RunView, space: SearchSpace, trainings: list[Training]) -> dict[str, Any]:
    data, environment = view.description["data"], view.description["environment"]
    site = Site(view.config["data"], view.path)
    return {
        "edition": edition.name,
        "space": view.description["space"],
        "points": view.description["points"],
        "fidelities": {
            "looks": [look.name for look in edition.looks], "tuned": edition.tuned.name, "truth": edition.truth.name,
            "doubled": edition.doubled.name,
        },
        "data": {key: data[key] for key in _DATA},
        "recipes": {
            schedule.name: asdict(configuration(edition, site, schedule).training.recipe())
            for schedule in (*edition.schedules, edition.doubled)
        },
        "parent": None if view.parent is None else dict(view.parent),
        "precision": None if view.precision is None else dict(view.precision),
        "versions": {key: environment[key] for key in _VERSIONS if key in environment},
        "architectures": _costs(space, {training.architecture for training in trainings}),
    }  # fmt: skip


def _costs(space: SearchSpace, architectures: Iterable[Architecture]) -> list[dict[str, Any]]:
    costs = CostTable(space)
    return [
        {"choices": a.labels(), "macs": costs(a).macs, "params": costs(a).params}
        for a in sorted(architectures, key=lambda a: list(a.labels().values()))
    ]


def _images(folder: Path, truth: Schedule, trainings: list[Training]) -> dict[Identity, Images]:
    there = [t for t in trainings if (t.start, t.epochs, t.error) == (truth.regime, truth.epochs, None)]
    found = {t.identity: read_images(images_path(folder, t)) for t in there if images_path(folder, t).exists()}
    if not found:
        return {}
    most = min(_LOSS_BYTES // (2 * len(found)), *(len(one.losses) for one in found.values()))
    return {identity: one.shortened(most) for identity, one in found.items()}


def beginning(edition: Edition, given: str | None, say: Callable[[str], None]) -> Callable[[Prepared, RunRecord], None]:
    """What a new record of an edition begins with, see `begins_with`. Raises BenchError as that does."""
    found = begins_with(edition, given)
    return (lambda prepared, record: None) if found is None else unpacked(*found, say)


def begins_with(edition: Edition, given: str | None) -> tuple[Contents, str] | None:
    """The table in a file, this package's where none is given, and its name; None for `none`, and where this package
    has none of the edition.

    Raises BenchError where the file that is given is no table of the edition.
    """
    file = next(iter(TABLES.values())) if given is None else Path(given)
    if given == "none" or (given is None and not file.exists()):
        return None
    contents = read_table(file)
    if contents.header["edition"] == edition.name:
        return contents, str(file)
    if given is None:
        return None
    raise BenchError(f"{file} is of edition {contents.header['edition']}, not {edition.name}: give another --table")


def known_of(folder: Path, edition: Edition, given: str | None) -> tuple[Training, ...]:
    """What the record of a folder knows, or would begin with. Raises BenchError and StoreError."""
    if (folder / FILE_NAME).exists():
        return RunView.load(folder).trainings
    found = begins_with(edition, given)
    return () if found is None else found[0].trainings


def unpacked(contents: Contents, name: str, say: Callable[[str], None]) -> Callable[[Prepared, RunRecord], None]:
    """What `build` begins a new record with: the trainings of a table. `name` is that of its file."""

    def begin(prepared: Prepared, record: RunRecord) -> None:
        if contents.header["data"]["fingerprint"] != prepared.data.fingerprint:
            raise ConfigError(
                f"--data: {prepared.config.data} are not the images of {name} (fingerprint "
                f"{prepared.data.fingerprint}, there {contents.header['data']['fingerprint']}): give those, or "
                "--table none to begin anew"
            )
        if contents.header["space"]["fingerprint"] != prepared.space.fingerprint:
            raise ConfigError(f"{name} is of another space than {prepared.config.space}: give --table none")
        if contents.parent:
            record.parent_path.write_bytes(contents.parent)
        known = {key: contents.header[key] for key in ("parent", "precision") if contents.header[key] is not None}
        record.put(known | {"bench_latencies": contents.header["latencies"]})
        for training in contents.trainings:
            if (images := contents.images.get(training.identity)) is not None:
                write_images(images_path(record.parent_path.parent, training), images)
            record.append_training(training)
        say(f"{len(contents.trainings)} trainings are known from {name}")

    return begin
