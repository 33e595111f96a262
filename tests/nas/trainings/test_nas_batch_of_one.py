"""Batches of one image: refused before anything is trained where a batch norm would see one value."""

from __future__ import annotations

import pytest

from nas.settings.errors import ConfigError
from nas.trainings.batch_of_one import check_batch
from search_spaces import InputSpec, SearchSpace
from search_spaces.fusions import FusionSettings

SPEC = InputSpec(3, 64, 2)


def space(*operators: str, norm: str = "batch") -> SearchSpace:
    return SearchSpace.named("resnet8-fpn", SPEC, ("add", *operators), settings=FusionSettings(norm=norm))


def test_operators_with_a_batch_norm_of_pooled_values_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"batch_size: given 1, but aff, iaff, mscam, sk normalise one value .* give 2"
    ):
        check_batch(space("se", "aff", "iaff", "mscam", "sk", "cbam"), 1)


def test_others_train_on_one_image() -> None:
    check_batch(space("se", "cbam", "concat"), 1)
    check_batch(space("aff", "sk", norm="group"), 1)
    check_batch(space("aff"), 2)


def test_a_network_that_does_not_train_on_one_is_named(tmp_path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes=2):\n"
        "        super().__init__()\n        self.a, self.b = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)\n"
        "        self.n, self.h = nn.BatchNorm1d(8), nn.Linear(8, num_classes)\n\n    def forward(self, x):\n"
        "        x = self.a(x)\n        return self.h(self.n((x + self.b(x)).mean((2, 3))))\n"
    )
    own = SearchSpace.named(f"{tmp_path}/net.py:Net", InputSpec(3, 16, 2), ("add", "se"), (4,))
    with pytest.raises(ConfigError, match=r"net\.py:Net does not train on one image: Expected more than 1 value"):
        check_batch(own, 1)
