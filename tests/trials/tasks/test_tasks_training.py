"""Training detectors and segmenters: it learns, repeats to the bit, and leaves alone what it is told to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tasks_scenes import squares
from torch import nn

from search_spaces import InputSpec, SearchSpace
from trials.data import SceneConfig, SceneData, load_scenes
from trials.errors import TaskError
from trials.machine.quiet import Occupancy, occupied
from trials.tasks import SceneRecipe, evaluate
from trials.tasks.evaluation import Judgement, NonFiniteLoss
from trials.tasks.task import task_for
from trials.training.averaging import moving_average
from trials.training.loop import train
from trials.training.step import make_optimiser
from trials.training.trainer import Trainer

QUICK = SceneRecipe(epochs=1, batch_size=8)


def network_for(name: str, data: SceneData, op: str = "add") -> Any:
    space = SearchSpace.named(name, InputSpec(3, data.image_size, len(data.categories)))
    torch.manual_seed(0)
    return space.build(space.uniform(op)).to(memory_format=torch.channels_last)


def trained(name: str, data: SceneData, recipe: SceneRecipe, seed: int = 0, op: str = "add") -> tuple[Any, list[float]]:
    network = network_for(name, data, op)
    with occupied() as machine:
        points = list(train(network, data, recipe, seed, machine))
    assert [point.epoch for point in points] == list(range(1, recipe.epochs + 1))
    return network, [point.train_loss for point in points]


def judged(network: nn.Module, data: SceneData) -> Judgement:
    with occupied() as machine:
        return evaluate(network, data.val, data, machine)


@pytest.mark.parametrize(
    ("name", "epochs", "figure", "least"),
    [("resnet8-fpn-fcos", 6, "ap50", 0.3), ("resnet8-pan-semantic", 3, "miou", 0.5),
     pytest.param("resnet8-fpn-retinanet", 16, "ap50", 0.5, marks=pytest.mark.slow)],
)  # fmt: skip
def test_a_dense_network_learns_to_find_squares(name: str, epochs: int, figure: str, least: float) -> None:
    data = squares(64, 16, targets="semantic" if name.endswith("semantic") else "boxes")
    network, losses = trained(name, data, replace(QUICK, epochs=epochs))
    figures = judged(network, data)
    assert losses[-1] < 0.6 * losses[0]
    assert figures.figures[figure] > least
    assert figures.images == 16
    assert judged(network_for(name, data), data).figures[figure] < 0.2


@pytest.mark.parametrize("augment", [False, True])
def test_a_seed_repeats_to_the_bit_and_another_does_not(augment: bool) -> None:
    data = squares(16, 8)
    recipe = replace(QUICK, augment=augment, ema_decay=0.9)
    states = [trained("resnet8-fpn-fcos", data, recipe, seed)[0].state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_a_frozen_trunk_stays_and_its_fusions_learn() -> None:
    data = squares(16, 8)
    before = network_for("resnet8-fpn-fcos", data, "aff").state_dict()
    network, _ = trained("resnet8-fpn-fcos", data, replace(QUICK, frozen_trunk=True), op="aff")
    after = network.state_dict()
    moved = {key for key in after if not torch.equal(after[key], before[key])}
    trunk = {key for key in after if key.startswith("backbone.body.") and ".fuse." not in key}
    assert not moved & trunk
    learnt = {name for name, _ in network.named_parameters()} - trunk
    assert any(name.startswith("backbone.body.layer1.0.fuse.") for name in learnt)
    # Biases in front of a norm have no gradient but rounding, and a gate's first step may leave a branch where it is.
    assert len(learnt & moved) > 0.8 * len(learnt)


def test_recalibration_leaves_a_frozen_trunk() -> None:
    data = squares(16, 8)
    network = network_for("resnet8-fpn-fcos", data, "aff")
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with occupied() as machine:
        Trainer(data, replace(QUICK, frozen_trunk=True)).recalibrate(network, 0, machine)
    moved = {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved
    assert all(".fuse." in key or not key.startswith("backbone.body.") for key in moved)


def test_every_batch_gives_way_and_the_rest_of_an_epoch_is_left_out() -> None:
    ways: list[int] = []

    class Counted(Occupancy):
        def __init__(self) -> None:
            pass

        def give_way(self) -> None:
            ways.append(1)

    data = squares(21, 8, targets="semantic")
    network = network_for("resnet8-fpn-semantic", data)
    list(train(network, data, replace(QUICK, epochs=2), 0, Counted()))
    assert len(ways) == 2 * (21 // 8)


def test_the_moving_average_follows_faster_at_first() -> None:
    """After n updates it keeps min(decay, (1 + n) / (10 + n)); the first takes the weights as they are."""
    layer = nn.Linear(1, 1, bias=False)
    average = moving_average(layer, decay=0.15)
    values = []
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(layer.weight, value)
        average.update_parameters(layer)
        values.append(average.module.weight.item())
    second = 1 * 0.15 + 2 * 0.85  # 2/11 is above the decay
    assert values == pytest.approx([1.0, second, second * 0.15 + 3 * 0.85])
    slow = moving_average(layer, decay=0.999)
    for value in (1.0, 2.0):
        nn.init.constant_(layer.weight, value)
        slow.update_parameters(layer)
    assert slow.module.weight.item() == pytest.approx(1 * 2 / 11 + 2 * 9 / 11)


def test_what_is_judged_is_the_moving_average() -> None:
    data = squares(16, 8)
    plain, averaged = (
        trained("resnet8-fpn-fcos", data, replace(QUICK, ema_decay=decay))[0].state_dict() for decay in (None, 0.9)
    )
    first = network_for("resnet8-fpn-fcos", data).state_dict()
    key = "head.regression_head.bbox_reg.weight"
    assert 0 < (averaged[key] - first[key]).norm() < (plain[key] - first[key]).norm()


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_norms_and_biases_do_not_decay_and_fusions_have_their_own_rate(optimiser: Any) -> None:
    network = network_for("resnet8-fpn-fcos", squares(8, 8), "aff")
    recipe = replace(QUICK, optimiser=optimiser, peak_lr=0.1, weight_decay=0.02, fusion_lr_scale=0.5)
    of = {id(p): group for group in make_optimiser(network, recipe).param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        group = of[id(parameter)]
        assert group["weight_decay"] == (0.02 if parameter.ndim > 1 else 0.0), name
        assert group["lr"] == (0.05 if ".fuse." in name else 0.1), name


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    data = replace(squares(16, 8), mean=(float("nan"),) * 3)
    with pytest.raises(NonFiniteLoss, match="training loss is nan in epoch 1 of 1"):
        trained("resnet8-fpn-fcos", data, QUICK)
    with pytest.raises(NonFiniteLoss, match="validation loss is nan"):
        judged(network_for("resnet8-fpn-fcos", data), data)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_small_detector_finds_garments_within_minutes() -> None:
    """scenes-mini: AP50 of about .30 after 4 epochs, a minute of one core; .01 before."""
    data = load_scenes(SceneConfig())
    network, losses = trained("resnet8-fpn-fcos", data, SceneRecipe(epochs=4))
    figures = judged(network, data).figures
    assert losses[-1] < 0.7 * losses[0]
    assert figures["ap50"] > 0.2
    assert figures["ap_small"] > 0.1
    assert figures["ap_large"] is None  # none of its garments has 96² pixels


def test_anchors_that_would_have_no_size_are_refused_in_one_line() -> None:
    data = squares(16, 8)
    network = network_for("resnet8-fpn-fcos", data)
    network.anchor_scale = 1 / min(network.strides)
    with pytest.raises(TaskError, match=r"^anchors of 1 pixels have no size when they are rounded: give [^\n]+$"):
        task_for(network, data)
