"""`nas retrain`: train the architecture of an export, or of a run's trial, and write the export anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.export import ExportError, TrainedNetwork, export_network, validation_of
from nas.export.folder import refuse_foreign
from nas.export.formats import FORMATS
from nas.export.kinds import split_judged_on
from nas.settings.kinds import task_of
from nas.settings.loading import load_config
from nas.tools.retraining.loop import Checkpoint, identity, train_long
from nas.tools.retraining.processes import Processes, processes
from nas.tools.retraining.source import Source, digest_of_weights, source_of, teacher_of
from nas.tools.retraining.teaching import distillation_by
from trials.data import DataError, ImageData
from trials.machine import device as devices
from trials.machine.quiet import occupied
from trials.record.file import FILE_NAME
from trials.tasks.evaluation import Judgement
from trials.tasks.metrics import label, leading
from trials.tasks.task import Data, categories_of, name_of
from trials.training.trainer import Trainer, make_trainer

#: Of a run's recipe what a long training takes over.
_TAKEN = ("batch_size", "optimiser", "peak_lr", "momentum", "weight_decay", "label_smoothing", "flip", "crop_padding")
#: Of that of detectors and segmenters, whose trunk learns again where it was frozen.
_TAKEN_OF_SCENES = (*_TAKEN[:3], "weight_decay", "warmup_fraction", "max_grad_norm", "augment")
#: Of how a search cut its images what a training on them must do alike.
_CUT = ("val_fraction", "test_fraction", "data_errors")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How it is trained; None for what the run's own recipe, or its default, says."""

    epochs: int
    data: str | None = None
    data_dir: str | None = None
    image_size: int | None = None
    train_images: int | None = None
    start: str = "inherited"
    teacher: Path | None = None
    ema: float | None = 0.999
    peak_lr: float | None = None
    batch_size: int | None = None
    seed: int = 0
    device: str = "auto"


def target_of(folder: Path, out: Path | None) -> Path:
    """Where it is exported to: `out`, else an export's own folder, or one in a run's."""
    return out or (folder / "retrained" if (folder / FILE_NAME).is_file() else folder)


def retrain(
    folder: Path,
    out: Path | None,
    wishes: Wishes,
    trial: str | None = None,
    space: str | None = None,
    formats: list[str] | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> dict[str, Any] | None:
    """Train for `wishes.epochs`, then export to `target_of(folder, out)`; the parity report.

    What begins with weights, or learns from a teacher, that saw validation images is trained on these too, and judged
    on the test split. `formats` are by default those that the export has.

    Under torchrun every process calls this; all but the first get None. The same call goes on after the last epoch that
    was finished: its state lies beside `out` until the export is there.

    Raises:
        ExportError: `folder` is neither export nor run, the data are not those of the search, or of a network of its
            classes, there is no split to judge on, or `out` holds other files.
        DataError: the data cannot be had.
    """
    with processes() as among:
        source = source_of(folder, trial, space)
        target = target_of(folder, out)
        refuse_foreign(target)
        if formats is None and (folder / "arch.json").is_file():
            formats = [form.name for form in FORMATS if (folder / form.name).is_file()]
        teacher = None if wishes.teacher is None else teacher_of(wishes.teacher)
        trainer, device, split = _trainer(source, teacher, wishes, among, announce)
        data = trainer.data
        network = _network(source, wishes).to(device)
        mark = identity(
            trainer.recipe, wishes.seed, of=source.architecture.key, data=data.fingerprint, split=split,
            start=digest_of_weights(source) if wishes.start == "inherited" else wishes.start,
            teacher=None if teacher is None else digest_of_weights(teacher), processes=among.count,
        )  # fmt: skip
        checkpoint = Checkpoint(target.resolve().with_name(f".{target.resolve().name}.retraining.pt"), mark)
        tell = announce if among.first else _nothing
        distillation = None if teacher is None else distillation_by(teacher, data, device)
        train_long(network, data, trainer.recipe, wishes.seed, among, checkpoint, distillation, tell)
        if not among.first:
            return None
        with occupied(devices.synchronise(device), lambda: None, devices.lock_name(device)) as machine:
            if trainer.recipe.recalibrate:
                trainer.recalibrate(network, wishes.seed, machine)
            judged = trainer.evaluate(network, machine)
        known = _provenance(source, wishes, trainer, judged, split, among)
        announce(_told(judged, data, split_judged_on(known)))
        weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
        classes = tuple(categories_of(data))
        trained = TrainedNetwork(source.space, source.architecture, weights, classes, data.mean, data.std, known)
        report = export_network(trained, target, validation_of(data), announce, formats)
        checkpoint.path.unlink(missing_ok=True)
        return report


def _told(judged: Judgement, data: Data, split: str) -> str:
    if isinstance(data, ImageData):
        return f"{judged.score:.2%} of {judged.images} {split} images right"
    return f"{label(leading(name_of(data)))} {judged.score:.4f} on {judged.images} {split} images"


def _nothing(line: str) -> None:
    return None


def _trainer(
    source: Source, teacher: Source | None, wishes: Wishes, among: Processes, announce: Callable[[str], None]
) -> tuple[Trainer, torch.device, str]:
    """The trainer, its device, and the split that it judges on."""
    task = task_of({"space": source.space.name})
    if task != "classification" and wishes.teacher is not None:
        raise ExportError("classifiers alone learn from a teacher's answers: give a detector or segmenter none")
    given = {
        "training.peak_lr": wishes.peak_lr, "training.batch_size": wishes.batch_size, "data_dir": wishes.data_dir,
        "train_images": wishes.train_images, "image_size": wishes.image_size or _size(source, wishes),
    }  # fmt: skip
    settings = {
        "task": task, **_taken(source, task), **_cut(source),
        **{key: value for key, value in given.items() if value is not None},
        "training.epochs": wishes.epochs, "training.ema_decay": wishes.ema, "rungs": "none",
        "data": wishes.data or source.known.get("source_data") or (source.known.get("data") or {}).get("name"),
    }  # fmt: skip
    if settings["data"] is None:
        raise ExportError("what it was trained on is not recorded: say it with --data")
    if not wishes.data and "source_data" not in source.known and ":" in settings["data"]:
        raise ExportError(f"where {settings['data']!r} lies now is not recorded: say it with --data folder:PATH")
    config = load_config(None, {key: value for key, value in settings.items() if value is not None})
    found = devices.resolve(wishes.device)
    device = found if among.count == 1 else among.device(found.type)
    trainer = make_trainer(config.data_config(), config.training.recipe(), announce if among.first else _nothing)
    data = trainer.data
    spec, categories = source.space.input, categories_of(data)
    if (len(data.mean), len(categories)) != (spec.channels, spec.classes):
        raise ExportError(
            f"the network takes {spec.channels} channels and tells {spec.classes} classes, the data have "
            f"{len(data.mean)} and {len(categories)}: give the data that it was searched on, or like them"
        )
    _check_same(source, wishes, data, announce if among.first else _nothing)
    split = "val"
    if (wishes.start == "inherited" and _saw_validation(source)) or (teacher is not None and _saw_validation(teacher)):
        try:
            trainer, split = trainer.final(), "test"
        except DataError as error:
            raise ExportError(
                "it goes on from what was trained on validation images too, and there is no test split to judge it by: "
                "give --start scratch and no such teacher, or data with a test split"
            ) from error
    precision = "float32" if trainer.recipe.precision in ("auto", "fastest") else trainer.recipe.precision
    return replace(trainer, recipe=replace(trainer.recipe, precision=precision)).on(device, 8e9), device, split


def _taken(source: Source, task: str) -> dict[str, Any]:
    recorded = source.known.get("training") or {}
    names = _TAKEN if task == "classification" else _TAKEN_OF_SCENES
    return {f"training.{name}": recorded[name] for name in names if recorded.get(name) is not None}


def _cut(source: Source) -> dict[str, Any]:
    recorded = source.known.get("split") or {}
    return {name: recorded[name] for name in _CUT if recorded.get(name) is not None}


def _saw_validation(source: Source) -> bool:
    return "val" in (source.known.get("trained_on") or ())


def _check_same(source: Source, wishes: Wishes, data: Data, announce: Callable[[str], None]) -> None:
    """Are the data those of the search? Raises ExportError where they are not, and nobody asked for others."""
    recorded = (source.known.get("data") or {}).get("fingerprint")
    fewer = wishes.train_images or (source.known.get("split") or {}).get("train_images")
    if recorded in (None, data.fingerprint) or fewer:
        return
    if wishes.data or wishes.image_size:
        announce("these are other data than the search's: its training images may be among their validation images")
        return
    raise ExportError(
        f"the data of {data.name} are not those that it was trained on (fingerprint {data.fingerprint}, recorded "
        f"{recorded}): put those back, or say with --data what to train on"
    )


def _size(source: Source, wishes: Wishes) -> int | None:
    """Images of a folder and scenes are made as large as the network takes them, others as in the search."""
    if (wishes.data or "").startswith("folder:") or task_of({"space": source.space.name}) != "classification":
        return source.space.input.size
    size: int | None = (source.known.get("split") or {}).get("image_size")
    return size


def _network(source: Source, wishes: Wishes) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(wishes.seed)
        network = source.space.build(source.architecture)
    if wishes.start == "inherited":
        if source.weights is None:
            raise ExportError("no weights are kept to begin with: give --start scratch")
        network.load_state_dict(dict(source.weights))
    return network.to(memory_format=torch.channels_last)


def _provenance(
    source: Source, wishes: Wishes, trainer: Trainer, judged: Judgement, split: str, among: Processes
) -> dict[str, Any]:
    kept = ("run", "number", "macs", "params", "latency_ms", "verdict", "license", "split")
    data = trainer.data
    found: dict[str, Any] = {"figures": dict(judged.figures)}
    if isinstance(data, ImageData):
        found = {"accuracy": judged.score, "correct": judged.correct}
    return {
        **{name: source.known[name] for name in kept if name in source.known},
        "retrained": {
            "start": wishes.start,
            "teacher": wishes.teacher and str(wishes.teacher.name),
            "processes": among.count,
        },
        "epochs": wishes.epochs,
        "seed": wishes.seed,
        "score": judged.score,
        **found,
        "images": judged.images,
        "trained_on": ["train", "val"] if split == "test" else ["train"],
        "judged_on": split,
        "data": {"name": data.name, "train": len(data.train), split: len(data.val), "fingerprint": data.fingerprint},
        "training": asdict(trainer.recipe),
    }
