"""A network's own temperature: how sharp its logits are is taken out before losses are compared.

One scalar a network (Guo et al., On Calibration of Modern Neural Networks, ICML 2017), fitted on one half of the images
and used on the other, so that no image judges itself.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from trials.seeds import generator

#: Of the temperature's logarithm: e⁻³ to e³ is more than any training leaves.
_LIMIT, _PRECISE = 3.0, 1e-7
#: Single logits that a temperature is fitted on at the most.
_FITTED = 500_000


def tempered_losses(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], tuple[float, float]]:
    """Cross-entropies [N], float64, each image's at the temperature of the half that it is not in; and the two.

    The halves are the same for every network of as many images.
    """
    logits = logits.double()
    order = torch.randperm(len(labels), generator=generator(0, "halves", len(labels))).to(labels.device)
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    losses = torch.empty(len(labels), dtype=torch.float64, device=logits.device)
    found = []
    for judged, fitted in (halves, halves[::-1]):
        temperature = fit_temperature(logits[fitted], labels[fitted]) if len(fitted) else 1.0
        losses[judged] = F.cross_entropy(logits[judged] / temperature, labels[judged], reduction="none")
        found.append(temperature)
    return losses, (found[0], found[1])


def tempered_loss(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> tuple[float, float]:
    """The mean cross-entropy at the temperature that was fitted on the same logits, and that temperature: one number
    of some thousand images, which flatters every network alike. Of very many it is fitted on an even choice."""
    every = max(1, logits.numel() // _FITTED)
    temperature = fit_temperature(logits[::every].double(), labels[::every])
    return float(F.cross_entropy(logits / temperature, labels, reduction="sum")) / len(labels), temperature


def fit_temperature(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """The temperature of the least mean cross-entropy, which is convex in its inverse: Newton's steps in that one's
    logarithm, between bounds that hold it. scipy's would do, but for the second that a worker waits for its import."""
    told = logits.gather(1, labels[:, None]).mean()
    low, high, at = -_LIMIT, _LIMIT, 0.0
    for _ in range(60):
        inverse = math.exp(at)
        shares = F.softmax(inverse * logits, dim=1)
        mean = (shares * logits).sum(1)
        slope = inverse * float(mean.mean() - told)
        curvature = slope + inverse**2 * float(((shares * logits**2).sum(1) - mean**2).mean())
        low, high = (low, at) if slope > 0 else (at, high)
        following = at - slope / curvature if curvature > 0 else math.inf
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - at) < _PRECISE:
            break
        at = following
    return math.exp(-following)
