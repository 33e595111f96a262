"""How attention moves from epoch to epoch: looked at without a trace in the training, and bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from search_spaces import InputSpec, SearchSpace
from trials.attention.measuring import attention_of
from trials.data import ImageData, Split
from trials.machine.quiet import occupied
from trials.training.trainer import Trainer
from trials.training.watching_attention import IMAGES, MOMENTS, Watch, moments
from trials.trial import AttentionByEpoch, Recipe

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
CHOICES = {"layer1.0": "cbam/4", "layer2.0": "add", "layer3.0": "aff/4"}


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_NAS_LOCKS", str(tmp_path))


def data(images: int = 6) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 1, 28, 28), generator=generator, dtype=torch.uint8)
    split = Split(pixels, torch.arange(images) % 10)
    return ImageData("drawn", tuple("0123456789"), split, split, None, (0.5,), (0.25,), "0" * 16)


def test_a_training_that_is_looked_at_is_the_same_to_the_bit() -> None:
    architecture = SPACE.architecture(CHOICES)
    trainer = Trainer(data(40), Recipe(epochs=3, batch_size=8, precision="float32"))
    ended, told = [], None
    for looked_at in (False, True):
        torch.manual_seed(0)
        network = SPACE.build(architecture)
        watch = Watch(architecture, trainer, 3)
        with occupied() as machine:
            for point in trainer.train(network, 1, machine):
                if looked_at:
                    watch.look(network, point.epoch)
                    assert network.training
                    assert not [m for m in network.modules() if m._forward_hooks]
        ended.append(network)
        told = watch.told()
        assert (told is None) == (not looked_at)
    for name, value in ended[0].state_dict().items():
        assert torch.equal(value, ended[1].state_dict()[name]), name
    assert told is not None
    assert told.epochs == (1, 2, 3)
    assert told.parts == (("layer1.0", "channel gate"), ("layer1.0", "spatial gate"), ("layer3.0", "attention"))
    assert AttentionByEpoch.from_json(json.loads(json.dumps(told.to_json()))) == told
    last = attention_of(0, ended[1], architecture, trainer.judging(IMAGES))
    assert told.means[-1] == pytest.approx([h.mean for h in last.histograms], abs=1e-4)
    assert told.spreads[-1] == pytest.approx([h.std for h in last.histograms], abs=1e-4)
    assert told.means[0] != told.means[-1]


def test_without_attention_nothing_is_looked_at() -> None:
    watch = Watch(SPACE.uniform("concat"), Trainer(data(), Recipe()), 3)
    watch.look(SPACE.build(SPACE.uniform("concat")), 1)
    assert watch.told() is None


def test_of_many_epochs_the_first_the_last_and_some_between() -> None:
    assert moments(1) == {1}
    assert moments(MOMENTS) == set(range(1, MOMENTS + 1))
    many = sorted(moments(300))
    assert (many[0], many[-1], len(many)) == (1, 300, MOMENTS)


def test_what_is_no_course_of_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="a mean and a spread of each part"):
        AttentionByEpoch((("p", "gate"),), (1.0,), (1, 2), ((0.5,),), ((0.1,),))
    with pytest.raises(ValueError, match="not finite"):
        AttentionByEpoch((("p", "gate"),), (1.0,), (1,), ((float("nan"),),), ((0.1,),))
