"""What is exported, and the description that travels with it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from nas.export.baking import baked
from nas.export.detector import Detector
from nas.export.errors import ExportError
from nas.export.kinds import Classifier, Kind, Segmenter
from search_spaces import Architecture, SearchSpace
from search_spaces.networks.detection import DetectionNet
from search_spaces.networks.segmentation import SegmentationNet

FORMAT = "fusion-nas-export"
VERSION = 1
LAYOUT = "NCHW float32, (pixel/255 - mean)/std"


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained candidate: what it is, its weights, what it was trained on, where it comes from.

    `mean` and `std` are per channel, of pixels scaled to 0..1. `provenance` is any JSON: the run, the
    trial's `number`, seed, costs; its `correct` and `images`, of a dense network its `figures`, are, where given, what
    the export must reproduce of the split that it was `judged_on` (val, of a finalist test).
    """

    space: SearchSpace
    architecture: Architecture
    state_dict: Mapping[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        spec = self.space.input
        if len(self.classes) != spec.classes:
            raise ExportError(f"{len(self.classes)} class names for {spec.classes} classes: give one each")
        if not len(self.mean) == len(self.std) == spec.channels:
            raise ExportError(f"mean and std have {len(self.mean)} and {len(self.std)} values: give {spec.channels}")
        if not all(deviation > 0 for deviation in self.std):
            raise ExportError(f"std {self.std} is not above 0 everywhere: give each channel's standard deviation")

    def build(self) -> nn.Module:
        """The network with its trained weights, float32 on the CPU, in eval mode; see `baked` for parametrized ones."""
        with torch.random.fork_rng(devices=[]):  # an export must not move the caller's seed
            network = self.space.build(self.architecture)
        try:
            network.load_state_dict(dict(self.state_dict), strict=True)
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:300]
            raise ExportError(
                f"the weights are not those of {self.architecture.key} in {self.space.name}: {detail}"
            ) from None
        return baked(network).requires_grad_(False)

    @cached_property
    def kind(self) -> Kind:
        """What its outputs are."""
        with torch.random.fork_rng(devices=[]):
            network, spec = self.space.build(self.architecture), self.space.input
        if isinstance(network, DetectionNet):
            return Detector.of(network, spec)
        return Segmenter(spec) if isinstance(network, SegmentationNet) else Classifier(spec)


def write_description(
    trained: TrainedNetwork, facts: Mapping[str, Any], left_out: Mapping[str, str], path: Path
) -> None:
    """arch.json: all that is known of the network, in a form that needs no model to read.

    `facts` are what artefacts say of themselves, by their names; `left_out` are those that could not be made, each with
    the reason.
    """
    function, arguments = trained.kind.fit
    document = {
        "format": FORMAT,
        "version": VERSION,
        "key": trained.architecture.key,
        "architecture": trained.architecture.to_json(),
        "space": trained.space.to_json(),
        "input": {
            "name": "images",
            "channels": trained.space.input.channels,
            "size": trained.space.input.size,
            "height": trained.space.input_shape[1],
            "width": trained.space.input_shape[2],
            "layout": LAYOUT,
            "mean": list(trained.mean),
            "std": list(trained.std),
            "fitting": trained.kind.fitting,
            "fit": {"function": function.__name__, "side": trained.space.input.size, **arguments},
        },
        **trained.kind.description(trained.classes),
        **facts,
        "left_out": dict(left_out),
        "provenance": dict(trained.provenance),
    }
    try:
        text = json.dumps(document, indent=2, allow_nan=False)  # in ASCII: a class's folder need not be UTF-8
    except (TypeError, ValueError) as error:
        raise ExportError(f"provenance is not JSON ({error}): give numbers, text, lists and mappings") from None
    path.write_text(text + "\n", encoding="utf-8")


def write_preprocessing(trained: TrainedNetwork, path: Path) -> None:
    """preprocessing.json: from an image file to what the network takes, for whoever does it in another language."""
    function, arguments = trained.kind.fit
    _, height, width = trained.space.input_shape
    document = {
        "fitting": trained.kind.fitting,
        "fit": function.__name__,
        **arguments,
        "resize": {"height": height, "width": width, "filter": "bilinear, antialiased"},
        "channels": trained.space.input.channels,
        "order": "RGB" if trained.space.input.channels == 3 else "grey",
        "scale": 1 / 255,
        "mean": list(trained.mean),
        "std": list(trained.std),
        "dtype": "float32",
        "layout": "NCHW",
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_weights(trained: TrainedNetwork, network: nn.Module, folder: Path) -> None:
    """weights.safetensors, and weights.pt for model.py, which has torch alone; float32 whatever the state dict was."""
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"format": "pt", "architecture": trained.architecture.key, "fitting": trained.kind.fitting}
    # save_file would make it readable to its owner alone
    (folder / "weights.safetensors").write_bytes(save(tensors, metadata))
    content = io.BytesIO()  # torch's own writer ends the process where the disk is full
    torch.save(tensors, content)  # read with weights_only
    (folder / "weights.pt").write_bytes(content.getbuffer())
