"""The validation split on which an export is judged: of images with a class each, or of scenes.

validation_of(data) -> Validation ── judge(trained, network) ──> Judge: read each batch's outputs, then the verdict
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nas.export.errors import ArtefactError, ExportError
from nas.export.kinds import Classifier, Outputs, split_judged_on
from nas.export.trained import TrainedNetwork
from trials.data import ImageData, SceneData, SceneSplit
from trials.tasks import Task, task_for
from trials.tasks.classification import ClassificationTask
from trials.tasks.metrics import leading
from trials.tasks.registry import task_with
from trials.tasks.scenes import SceneTask

#: How far a figure of the split, 0..1, may be from the recorded one: rounding decides which of two scores that are
#: nearly equal comes first, or whether one is just above a threshold. In five networks and splits of 16 to 60 images,
#: all outputs moved at random by up to 1e-5 of their largest value, no AP or mIoU moved by more than 3e-5.
FIGURE_TOLERANCE = 1e-3


#: Sections of parity.json, and errors by artefact.
Verdict = tuple[dict[str, Any], dict[str, ArtefactError]]


class Judge(Protocol):
    """Judges what the network and its artefacts answer to the images of a split."""

    @property
    def images(self) -> Tensor:
        """uint8 [N, C, S, S], on the CPU."""

    @property
    def batch_size(self) -> int:
        """Images that are answered together, as trials are evaluated."""

    def read(self, outputs: Outputs, places: Tensor) -> Any:
        """What the outputs for the images at `places` (int64 [B]) mean; kept until the split is through."""

    def verdict(self, readings: Mapping[str, Sequence[Any]], rounding: float, lossy: Collection[str] = ()) -> Verdict:
        """The section of parity.json, by its name, and the artefacts that answer otherwise than rounding explains.

        `readings` of every batch, by who answered; one is `network`. `rounding`: how far an artefact's outputs may be
        from the network's, as a share of their largest. Those of `lossy` may answer what they like.

        Raises:
            ExportError: what was recorded differs from the network by more than rounding explains.
        """


class Validation(Protocol):
    """A validation split."""

    @property
    def training(self) -> Tensor | None:
        """uint8 [N, C, S, S], images that were trained on, where they are known."""

    def judge(self, trained: TrainedNetwork, network: nn.Module) -> Judge:
        """Raises ExportError or TaskError when the split is not one of the network's data."""


@dataclass(frozen=True, eq=False)
class ClassifiedImages:
    """Images, uint8 [N, C, S, S], and the class of each, int64 [N]; beside them images that were trained on."""

    images: Tensor
    labels: Tensor
    training: Tensor | None = None

    def judge(self, trained: TrainedNetwork, network: nn.Module) -> Judge:
        if not isinstance(trained.kind, Classifier):
            raise ExportError(f"{trained.space.name} is no classifier: give the scenes that it was trained on")
        images = _checked(self.images, trained)
        if len(self.labels) != len(images):
            raise ExportError(f"{len(self.labels)} labels were given for {len(images)} images: give one each")
        correct, count = trained.provenance.get("correct"), trained.provenance.get("images")
        if correct is None or count is None:
            return CountOfCorrect(images, self.labels.cpu(), None)
        if int(count) != len(images):
            raise ExportError(f"{len(images)} images were given, {count} were recorded: give the same split")
        return CountOfCorrect(images, self.labels.cpu(), int(correct))


@dataclass(frozen=True, eq=False)
class CountOfCorrect:
    """How many images of a split are classified right; `recorded` is how many were."""

    images: Tensor
    labels: Tensor
    recorded: int | None
    batch_size: int = ClassificationTask.eval_batch

    def read(self, outputs: Outputs, places: Tensor) -> Tensor:
        return outputs["logits"]

    def verdict(self, readings: Mapping[str, Sequence[Any]], rounding: float, lossy: Collection[str] = ()) -> Verdict:
        logits = {name: torch.cat(list(batches)) for name, batches in readings.items()}
        best, second = (
            logits["network"].topk(2).values.unbind(dim=1) if logits["network"].shape[1] > 1 else (None, None)
        )
        # Where two classes are this close, rounding may decide between them.
        margin = 2 * rounding * logits["network"].abs().max()
        near_ties = 0 if best is None or second is None else int((best - second <= margin).sum())
        counts = {} if self.recorded is None else {"recorded": self.recorded}
        counts |= {name: int((given.argmax(dim=1) == self.labels).sum()) for name, given in logits.items()}
        off: dict[str, ArtefactError] = {}
        for name, count in counts.items():
            if abs(count - counts["network"]) > near_ties and name not in lossy:
                _refuse(
                    off,
                    name,
                    f"{name} has {count} of {len(self.labels)} images right, the network here {counts['network']}: "
                    "give the split, weights and preprocessing that were recorded",
                )
        counts = {name: count for name, count in counts.items() if name not in off}
        equal = len({count for name, count in counts.items() if name not in lossy}) == 1
        found = {"images": len(self.labels), "correct": counts, "near_ties": near_ties, "equal": equal}
        return {"accuracy": found}, off


@dataclass(frozen=True, eq=False)
class ValidationScenes:
    """The validation split of scenes."""

    data: SceneData

    @property
    def training(self) -> Tensor:
        return self.data.train.images

    def judge(self, trained: TrainedNetwork, network: nn.Module) -> Judge:
        data = self.data
        task = task_for(network, data)
        if tuple(data.categories) != trained.classes:
            raise ExportError(
                f"the network's classes are {', '.join(trained.classes)[:200]}, those of {data.name} "
                f"{', '.join(data.categories)[:200]}: give the scenes that it was trained on"
            )
        images = _checked(data.val.images, trained)
        known, split = trained.provenance, data.val.to("cpu")
        return Figures(images, split, trained.classes, task, known.get("figures"), split_judged_on(known))


@dataclass(frozen=True, eq=False)
class Figures:
    """The task's figures of a split, as trials are evaluated; `recorded` are those of the trial, `judged_on` names the
    split."""

    images: Tensor
    split: SceneSplit
    categories: tuple[str, ...]
    task: Task
    recorded: Mapping[str, Any] | None
    judged_on: str
    batch_size: int = SceneTask.eval_batch

    @property
    def leading(self) -> str:
        """The figure that a search maximises."""
        return leading(task_with("boxes" if self.split.maps is None else "semantic"))

    def read(self, outputs: Outputs, places: Tensor) -> Any:
        _, targets = self.split.batch(places)
        tensors = tuple(outputs.values())
        return self.task.read(tensors if len(tensors) > 1 else tensors[0], targets)

    def verdict(self, readings: Mapping[str, Sequence[Any]], rounding: float, lossy: Collection[str] = ()) -> Verdict:
        figures: dict[str, Mapping[str, Any]] = {} if self.recorded is None else {"recorded": self.recorded}
        figures |= {name: self.task.figures(batches, self.split, self.categories) for name, batches in readings.items()}
        values = {name: given.get(self.leading) for name, given in figures.items()}
        off: dict[str, ArtefactError] = {}
        for name, value in values.items():
            if not _near(value, values["network"]) and name not in lossy:
                _refuse(
                    off,
                    name,
                    f"{name} has {self.leading} {_shown(value)} on {len(self.split)} {self.judged_on} images, the "
                    f"network here {_shown(values['network'])}: give the scenes, weights and preprocessing that were "
                    "recorded",
                )
        values = {name: value for name, value in values.items() if name not in off}
        sections: dict[str, Any] = {
            "figures": {
                "images": len(self.split),
                self.leading: values,
                "tolerance": {
                    "absolute": FIGURE_TOLERANCE,
                    "because": "rounding may decide which of two nearly equal scores is the better one",
                },
                "equal": len({value for name, value in values.items() if name not in lossy}) == 1,
                "all": {name: dict(given) for name, given in figures.items() if name not in off},
            }
        }
        return sections, off


def _refuse(off: dict[str, ArtefactError], name: str, message: str) -> None:
    """An artefact alone is wrong; where the record is, everything is."""
    if name == "recorded":
        raise ExportError(message)
    off[name] = ArtefactError(name, message)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _near(value: Any, expected: Any) -> bool:
    """None where the split has no object to find."""
    if value is None or expected is None:
        return value is expected
    return bool(abs(value - expected) <= FIGURE_TOLERANCE)  # a NaN is not near


def _checked(images: Tensor, trained: TrainedNetwork) -> Tensor:
    """The images on the CPU, where the network can take them."""
    spec = trained.space.input
    expected = (len(images), spec.channels, spec.size, spec.size)
    if tuple(images.shape) != expected or images.dtype != torch.uint8 or len(images) == 0:
        raise ExportError(f"images are {images.dtype} {list(images.shape)}: give uint8 {list(expected)}, 1 or more")
    return images.cpu()


@singledispatch
def validation_of(data: object) -> Validation:
    """The validation split of loaded data. Raises TypeError for any other kind of data than a search has."""
    raise TypeError(f"no validation split of a {type(data).__name__}")


@validation_of.register
def _(data: ImageData) -> Validation:
    return ClassifiedImages(data.val.images, data.val.labels, data.train.images)


@validation_of.register
def _(data: SceneData) -> Validation:
    return ValidationScenes(data)
