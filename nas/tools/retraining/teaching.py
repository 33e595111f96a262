"""A trained network as a teacher: of the same classes, and asked in the scaling that it was itself trained with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.export.errors import ExportError
from nas.tools.retraining.loop import Distillation
from nas.tools.retraining.source import Source
from trials.tasks.task import Data, categories_of


class Rescaled(nn.Module):
    """`network`, which was trained with one mean and std of each channel, given images that are scaled by others."""

    gain: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, gain: Tensor, shift: Tensor) -> None:
        """`gain` and `shift`, float32 [C, 1, 1], make its input of what is given."""
        super().__init__()
        self.network = network
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, C, H, W] -> what the network answers."""
        answer: Tensor = self.network(images * self.gain + self.shift)
        return answer


def distillation_by(teacher: Source, data: Data, device: torch.device) -> Distillation:
    """The teacher's share of a training on `data`.

    Raises:
        ExportError: it tells other classes, takes other channels, or cannot take images of that size.
    """
    spec, classes = teacher.space.input, tuple(categories_of(data))
    if (spec.classes, spec.channels) != (len(classes), len(data.mean)):
        raise ExportError(
            f"the teacher takes {spec.channels} channels and tells {spec.classes} classes, the data have "
            f"{len(data.mean)} and {len(classes)}: give one of the same data"
        )
    if teacher.classes not in (None, classes):
        raise ExportError(
            f"the teacher's classes are {', '.join(teacher.classes or ())[:200]!r}, those of {data.name} "
            f"{', '.join(classes)[:200]!r}: give one of the same data"
        )
    network = teacher.space.build(teacher.architecture)
    network.load_state_dict(dict(teacher.weights or {}))
    if teacher.scaling is not None and teacher.scaling != (tuple(data.mean), tuple(data.std)):
        own, given = torch.tensor(teacher.scaling), torch.tensor((data.mean, data.std))
        gain, shift = given[1] / own[1], (given[0] - own[0]) / own[1]
        network = Rescaled(network, gain[:, None, None], shift[:, None, None])
    network = network.to(device).eval().requires_grad_(False)
    size = data.image_size
    try:
        with torch.inference_mode():
            network(torch.zeros(1, spec.channels, size, size, device=device))
    except RuntimeError:
        raise ExportError(
            f"the teacher cannot take images of {size} x {size} pixels: give one that was trained on images of that "
            "size"
        ) from None
    return Distillation(network)
