"""A network's own temperature: found where it is known, and no image judges itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from trials.tasks.temperature import fit_temperature, tempered_losses


def known(images: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `scale` times what their labels are drawn by."""
    generator = torch.Generator().manual_seed(0)
    true = 2 * torch.randn(images, 10, generator=generator)
    labels = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0]
    return scale * true, labels


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_the_temperature_is_what_the_logits_were_multiplied_by(scale: float) -> None:
    logits, labels = known(4000, scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.06)


def test_how_sharp_logits_are_makes_no_difference() -> None:
    (flat, labels), (sharp, _) = known(1000, 0.2), known(1000, 5.0)
    first, second = (tempered_losses(logits, labels) for logits in (flat, sharp))
    assert torch.allclose(first[0], second[0], atol=1e-4)
    assert second[1][0] / first[1][0] == pytest.approx(25, rel=1e-3)
    assert first[0].mean() < F.cross_entropy(sharp, labels)


def test_no_image_has_a_say_in_its_own_temperature() -> None:
    logits, labels = known(400, 1.0)
    losses, _ = tempered_losses(logits, labels)
    changed = labels.clone()
    changed[7] = (labels[7] + 1) % 10
    other, _ = tempered_losses(logits, changed)
    moved = (losses - other).abs() > 1e-9
    assert int(moved.sum()) == 201  # the other half, whose temperature it fitted, and itself
    mine = torch.nonzero(moved)[:, 0].tolist()
    assert 7 in mine
    assert math.isfinite(float(other.sum()))
