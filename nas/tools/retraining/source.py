"""What is retrained: the architecture of an export, or of a run's trial, with the weights that there are of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from nas.export.errors import ExportError
from nas.export.folder import changed
from nas.export.trained import FORMAT
from nas.run import Run, split_of
from nas.trainings.recorded import recorded_space
from search_spaces import Architecture, SearchSpace
from search_spaces.errors import UserError
from search_spaces.references import is_reference
from trials.record.file import FILE_NAME, PARENT_NAME
from trials.record.weights import read_weights, training_weights_path, weights_path
from trials.training.starts import digest_of


@dataclass(frozen=True)
class Source:
    """`weights` are the inherited ones, None where none are kept; `known` is what is recorded of its origin.

    `classes` are the names of its classes in order; `scaling`, of each channel the mean and the standard deviation of
    the pixels, scaled to 0..1, that it was trained on: None where that is not recorded.
    """

    space: SearchSpace
    architecture: Architecture
    weights: Mapping[str, Tensor] | None
    known: Mapping[str, Any]
    classes: tuple[str, ...] | None = None
    scaling: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def source_of(folder: Path, trial: str | None = None, space: str | None = None) -> Source:
    """Of an export's folder, or of a run's with a `trial` (a number, best, …); `space` says where its network is now.

    Raises:
        ExportError: it is neither, or a file of the export was changed.
    """
    if (folder / FILE_NAME).is_file():
        run = Run(folder, space=space)
        chosen = run.select(trial or "verdict")
        kept = run.kept_training(chosen)
        number = chosen.result.number
        path = weights_path(folder, number) if kept is None else training_weights_path(folder, kept)
        found = recorded_space(run.view, run.config)
        weights = read_weights(path) if path.is_file() else None
        known = {
            **chosen.to_json(),
            "run": folder.name,
            "training": run.view.config["training"],
            "trained_on": ["train", "val"] if kept is not None and kept.final else ["train"],
            "data": dict(run.view.description["data"]),
            "split": split_of(run.config),
            "source_data": run.view.config["data"],
        }
        return Source(found, chosen.result.architecture, weights, known, _classes_of(run))
    wrong = changed(folder)[0] if (folder / "arch.json").is_file() else {}
    if wrong:
        name = next(iter(wrong))
        raise ExportError(f"{folder / name} {wrong[name]}: restore it, nas verify {folder} says more")
    try:
        document = json.loads((folder / "arch.json").read_text(encoding="utf-8"))
        recorded = {**document["space"], **({} if space is None else {"source": space})}
        kind = document["format"]
    except OSError:
        raise ExportError(f"{folder} is neither an export nor a run: give one of them") from None
    except (ValueError, KeyError, TypeError):
        kind = None
    if kind != FORMAT:
        raise ExportError(f"{folder / 'arch.json'} is not what was exported: restore it, nas verify {folder} says more")
    if space is None and is_reference(str(recorded.get("name", ""))) and not recorded.get("source"):
        recorded["source"] = recorded["name"]
    made = SearchSpace.from_json(recorded)
    try:
        architecture = Architecture.from_json(document["architecture"])
        same = architecture.key == document["key"]
        made.architecture(architecture.choices)
        classes = tuple(map(str, document["output"]["classes"] if "output" in document else document["classes"]))
        mean, std = (tuple(map(float, document["input"][name])) for name in ("mean", "std"))
        same &= (len(classes), len(mean), len(std)) == (made.input.classes, *(2 * [made.input.channels]))
        same &= all(deviation > 0 for deviation in std)
    except (UserError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ExportError(f"{folder / 'arch.json'} is not what was exported: restore it, nas verify {folder} says more")
    weights = read_weights(folder / "weights.safetensors")
    return Source(made, architecture, weights, document["provenance"], classes, (mean, std))


def _classes_of(run: Run) -> tuple[str, ...] | None:
    classes = run.view.description["data"].get("classes")
    return None if classes is None else tuple(map(str, classes))


def digest_of_weights(source: Source) -> str:
    """What tells its network and weights from any other's."""
    weights = {name: tensor.contiguous() for name, tensor in (source.weights or {}).items()}
    return f"{source.architecture.key} {digest_of(save(weights))}"


def teacher_of(folder: Path) -> Source:
    """A trained network to learn from: of an export, or a run's all-add parent. Raises ExportError for none."""
    parent = folder / PARENT_NAME
    if parent.is_file():
        run = Run(folder)
        space = recorded_space(run.view, run.config)
        return Source(space, space.baseline, read_weights(parent), {}, _classes_of(run))
    found = source_of(folder)
    if found.weights is None:
        raise ExportError(f"{folder} keeps no weights to learn from: give an export, or a run with a parent")
    return found
