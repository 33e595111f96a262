"""What checks shapes while the tests run does check them."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError
from shapes import ANNOTATED
from torch import nn

from search_spaces import InputSpec, SearchSpace
from search_spaces.space import fusion_modules
from trials.data import normalise
from trials.tasks.classification import ClassificationTask


def test_a_call_with_another_shape_or_type_is_found() -> None:
    images, mean = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3)
    normalise(images, mean, mean + 1)
    for given in (images.float(), images[0]):
        with pytest.raises(TypeCheckError):
            normalise(given, mean, mean + 1)
    with pytest.raises(TypeCheckError):
        normalise(images, torch.zeros(1), torch.ones(1))
    with pytest.raises(TypeCheckError):
        ClassificationTask().read(torch.zeros(4, 10), torch.zeros(5, dtype=torch.long))
    assert len(ANNOTATED) == 4


def test_a_fusion_that_returns_another_shape_is_found() -> None:
    class Halved(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return (x + y)[:, ::2].repeat(1, 1, 1, 1)

    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    network = space.build(space.baseline).eval()
    network(torch.zeros(1, 1, 28, 28))
    name = next(iter(fusion_modules(network)))
    wrong = Halved()
    wrong.fusion_point = name
    network.get_submodule(name).fuse = wrong
    with pytest.raises(AssertionError, match=rf"{name}: maps .* were fused to \(1, 8, 28, 28\)"):
        network(torch.zeros(1, 1, 28, 28))
