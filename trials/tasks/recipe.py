"""How every candidate of a search over scenes is trained; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trials.trial import TrainingRecipe


@dataclass(frozen=True)
class SceneRecipe(TrainingRecipe):
    """That of detectors and segmenters.

    The defaults are for small detectors from scratch: FCOS on resnet8-fpn, all add, on scenes-mini (2,000 images of 128
    pixels) reached AP .328 and AP50 .496 in 205 s of one core at seed 0 (torch 2.15, bfloat16); in 4 epochs and 70 s
    AP .174, .164 and .179 at seeds 0, 1 and 2. With one convolution in its head, AdamW at 0.003 reached .120 in 4
    epochs where SGD at 0.02 reached .054; that is all that was tried of SGD.

    augment: flips, scales, crops and colours of images and targets; without it they are taken as they are.
    frozen_trunk: the ResNet under the neck keeps its weights and statistics while its fusions learn; for weights that
        were trained before.
    """

    epochs: int = 12
    batch_size: int = 16
    optimiser: Literal["adamw", "sgd"] = "adamw"
    peak_lr: float = 6e-3
    warmup_fraction: float = 0.2
    weight_decay: float = 0.05
    max_grad_norm: float | None = 10.0
    recalibrate: bool = False
    augment: bool = False
    frozen_trunk: bool = False
