"""What a network's outputs are: their names and shapes, and how model.py's reader makes answers of them.

A classifier and a segmenter are described here, a detector in `detector`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from nas.export.sources import Sources
from nas.export.standalone import fit_centre, fit_padded
from search_spaces import InputSpec
from trials.data.fitting import PAD_GREY

#: What a network or an artefact of it answers: a tensor by the name of each output.
Outputs = dict[str, Tensor]

_UPRIGHT = "Bring 16-bit grey to 8 bits (value / 257, rounded), turn the image as its EXIF orientation says"


@dataclass(frozen=True)
class Output:
    """A tensor that a network returns; its first dimension is the batch, N."""

    name: str
    shape: tuple[str | int, ...]
    meaning: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Kind(Protocol):
    """A kind of network, as the files of an export need to know it."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the network returns, in order."""

    @property
    def fitting(self) -> str:
        """How an image is brought to the input's size, before it is given to model.py's `preprocess`."""

    @property
    def fit(self) -> tuple[Callable[..., Tensor], Mapping[str, Any]]:
        """The function of `standalone` that does so with a PIL image, and its arguments beside image and side."""

    @property
    def reserved(self) -> tuple[str, ...]:
        """The names that `constants` and `functions` define."""
        return ()

    @property
    def usage(self) -> str:
        """The lines of model.py's docstring that show how the network is used, behind `network = model.load()`."""

    @property
    def example(self) -> str:
        """The lines of model.py's `main`, which has `network`, `parameters` and a black `image`."""

    def constants(self) -> list[str]:
        """Lines of model.py beside those that every one has."""
        return []

    def functions(self, sources: Sources) -> str:
        """Functions of model.py beside those that every one has; what they need is added to `sources`."""
        return ""

    def description(self, classes: Sequence[str]) -> dict[str, Any]:
        """What arch.json says of the outputs, JSON."""

    def recorded(self, provenance: Mapping[str, Any]) -> str | None:
        """How good the network was on the split that it was judged on, in a few words."""


@dataclass(frozen=True)
class Classifier(Kind):
    """One class an image."""

    input: InputSpec

    @property
    def outputs(self) -> tuple[Output, ...]:
        return (Output("logits", ("N", self.input.classes), "the largest is that of the image's class"),)

    @property
    def fitting(self) -> str:
        side = self.input.size
        return (
            f"{_UPRIGHT}, cut out its largest centred square, resize that to {side} x {side} pixels, bilinear and "
            f"antialiased, in {'RGB' if self.input.channels == 3 else 'grey'}."
        )

    @property
    def fit(self) -> tuple[Callable[..., Tensor], Mapping[str, Any]]:
        return fit_centre, {"mode": mode_of(self.input)}

    @property
    def usage(self) -> str:
        spec = self.input
        return (
            f"    logits = network(model.preprocess(images))      "
            f"# images: uint8 [N, {spec.channels}, {spec.size}, {spec.size}]\n"
            "    names = [model.CLASSES[index] for index in logits.argmax(dim=1).tolist()]"
        )

    @property
    def example(self) -> str:
        return (
            "    with torch.inference_mode():\n"
            "        logits = network(preprocess(image))\n"
            '    print(f"{parameters:,} parameters; logits of a black image: {logits[0].tolist()}")'
        )

    def description(self, classes: Sequence[str]) -> dict[str, Any]:
        return {"output": {"name": "logits", "classes": list(classes)}}

    def recorded(self, provenance: Mapping[str, Any]) -> str | None:
        correct, images = provenance.get("correct"), provenance.get("images")
        if correct is None or images is None:
            return None
        return f"{correct} of {images} {split_judged_on(provenance)} images right"


@dataclass(frozen=True)
class Segmenter(Kind):
    """One class a pixel."""

    input: InputSpec

    @property
    def outputs(self) -> tuple[Output, ...]:
        spec = self.input
        meaning = (
            "a score for each class at each pixel, rows from the top, columns from the left; the class of a pixel is "
            "that of its largest"
        )
        return (Output("logits", ("N", spec.classes, spec.size, spec.size), meaning),)

    @property
    def fitting(self) -> str:
        return scene_fitting(self.input)

    @property
    def fit(self) -> tuple[Callable[..., Tensor], Mapping[str, Any]]:
        return scene_fit(self.input)

    @property
    def usage(self) -> str:
        spec = self.input
        return (
            f"    logits = network(model.preprocess(images))      "
            f"# images: uint8 [N, {spec.channels}, {spec.size}, {spec.size}]\n"
            f"    maps = logits.argmax(dim=1)                     "
            f"# [N, {spec.size}, {spec.size}], indices into model.CLASSES"
        )

    @property
    def example(self) -> str:
        return (
            "    with torch.inference_mode():\n"
            "        pixels = network(preprocess(image))[0].argmax(dim=0).flatten().bincount(minlength=len(CLASSES))\n"
            '    print(f"{parameters:,} parameters; pixels by class of a black image: '
            '{dict(zip(CLASSES, pixels.tolist()))}")'
        )

    def description(self, classes: Sequence[str]) -> dict[str, Any]:
        return {"outputs": [output.to_json() for output in self.outputs], "classes": list(classes)}

    def recorded(self, provenance: Mapping[str, Any]) -> str | None:
        return recorded_figure(provenance, "miou", "mean IoU")


def scene_fitting(spec: InputSpec) -> str:
    """How scenes are brought to the size of the input, as `trials.data` does it."""
    return (
        f"{_UPRIGHT}, resize it, bilinear and antialiased, to {spec.size} pixels on its longer side, in RGB; pad with "
        f"grey, {PAD_GREY}, below or on the right."
    )


def scene_fit(spec: InputSpec) -> tuple[Callable[..., Tensor], Mapping[str, Any]]:
    """The same as a function."""
    return fit_padded, {"mode": mode_of(spec), "grey": PAD_GREY}


def mode_of(spec: InputSpec) -> str:
    """PIL's name of what the images are."""
    return "L" if spec.channels == 1 else "RGB"


def recorded_figure(provenance: Mapping[str, Any], name: str, words: str) -> str | None:
    """A figure of the split that it was judged on, for people."""
    value = (provenance.get("figures") or {}).get(name)
    return None if value is None else f"{words} {value:.4f} on the {split_judged_on(provenance)} split"


def split_judged_on(provenance: Mapping[str, Any]) -> str:
    """The name of the split whose figures are recorded: a finalist's is the test split."""
    judged = str(provenance.get("judged_on", "val"))
    return {"val": "validation"}.get(judged, judged)
