"""Training: reproducible to the bit, its schedule complete, and it learns."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, ImageData, Split, load_data, normalise
from trials.machine.quiet import Occupancy, occupied
from trials.tasks.classification import ClassificationTask
from trials.tasks.evaluation import NonFiniteLoss, evaluate
from trials.training.loop import train
from trials.training.step import ExplodingGradients, make_optimiser
from trials.trial import EpochPoint, Recipe

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
RECIPE = Recipe(epochs=2, batch_size=64)
EVAL_BATCH = ClassificationTask.eval_batch


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=2000))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(locks: Path) -> Iterator[Occupancy]:
    with occupied() as machine:
        yield machine


class Linear(nn.Module):
    """Quick to train."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


def built(op: str = "add", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return SPACE.build(SPACE.uniform(op))


def part(data: ImageData, images: int) -> ImageData:
    return replace(data, train=data.train.first(images))


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_same_seed_gives_the_same_weights(data: ImageData, machine: Occupancy) -> None:
    few = part(data, 192)
    trained, curves = [], []
    for disturbance, seed in ((1, 0), (2, 0), (1, 7)):
        network = built("cbam")
        torch.manual_seed(disturbance)
        curves.append([point.train_loss for point in train(network, few, RECIPE, seed, machine)])
        trained.append(network)
    assert same(trained[0], trained[1])
    assert curves[0] == curves[1]
    assert not same(trained[0], trained[2])
    assert curves[0] != curves[2]


def test_training_takes_no_numbers_of_anybody_else(data: ImageData, machine: Occupancy) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(train(Linear(), part(data, 128), RECIPE, 0, machine))
    torch.manual_seed(3)
    network = Linear()
    after_building = torch.get_rng_state()
    list(train(network, part(data, 128), RECIPE, 0, machine))
    assert torch.equal(torch.get_rng_state(), after_building)
    assert not torch.equal(before, after_building)


def test_all_candidates_see_the_same_batches(data: ImageData, machine: Occupancy) -> None:
    seen: list[list[torch.Tensor]] = []
    for op in ("add", "iaff"):
        network = built(op)
        batches: list[torch.Tensor] = []
        network.register_forward_pre_hook(lambda _, given, batches=batches: batches.append(given[0].clone()))
        list(train(network, part(data, 160), RECIPE, 5, machine))
        seen.append(batches)
    assert len(seen[0]) == 2 * 2
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0], seen[0][2]), "another order in every epoch"


@pytest.mark.parametrize(
    ("images", "epochs", "batch_size", "warmup", "steps"),
    [
        (640, 4, 64, 0.25, 40),
        (320, 2, 32, 0.1, 20),
        (100, 3, 32, 0.5, 9),
        (50, 6, 64, 0.25, 6),
        # A warm-up of exactly one step, and of less than one.
        (256, 1, 64, 0.25, 4),
        (60, 2, 32, 0.5, 2),
        (64, 5, 32, 0.1, 10),
        (96, 1, 32, 0.1, 3),
    ],
)  # fmt: skip
def test_the_schedule_is_complete(
    data: ImageData, machine: Occupancy, images: int, epochs: int, batch_size: int, warmup: float, steps: int
) -> None:
    recipe = Recipe(epochs=epochs, batch_size=batch_size, warmup_fraction=warmup, peak_lr=0.1)
    rates: list[float] = []
    hook = register_optimizer_step_pre_hook(lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"]))
    try:
        points = list(train(Linear(), part(data, images), recipe, 0, machine))
    finally:
        hook.remove()
    assert [point.epoch for point in points] == list(range(1, epochs + 1))
    assert len(rates) == steps
    assert rates[-1] < 1e-3 * recipe.peak_lr
    top = rates.index(max(rates))
    assert max(rates) <= recipe.peak_lr * (1 + 1e-9)
    assert rates == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    if warmup * steps > 2:
        assert max(rates) > 0.9 * recipe.peak_lr
        assert rates[0] < 0.1 * recipe.peak_lr
        assert abs(top - warmup * steps) <= 1


def test_throughput_counts_the_images_that_were_seen(data: ImageData, machine: Occupancy) -> None:
    """Fewer than a batch are one batch of what there is."""
    batches: list[int] = []

    def slowly(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        batches.append(len(given[0]))
        time.sleep(0.05)

    network = Linear()
    network.register_forward_pre_hook(slowly)
    (point,) = train(network, part(data, 20), Recipe(epochs=1, batch_size=1000), 0, machine)
    assert batches == [20]
    assert point.images_per_second <= 20 / 0.05


def test_norms_and_biases_do_not_decay() -> None:
    network = built("iaff")
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser = make_optimiser(network, Recipe(peak_lr=0.1, weight_decay=0.1))
    optimiser.step()
    for name, parameter in network.named_parameters():
        if parameter.ndim <= 1:
            assert torch.equal(parameter, before[name]), name
        else:
            assert parameter.norm() < 0.99 * before[name].norm(), name


def test_norms_and_biases_of_several_dimensions_are_not_decayed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.LayerNorm([4, 1, 1]))
    network.register_parameter("bias", nn.Parameter(torch.ones(1, 4, 1, 1)))
    groups = make_optimiser(network, Recipe(weight_decay=0.1)).param_groups
    decayed = [p for group in groups if group["weight_decay"] for p in group["params"]]
    assert [id(p) for p in decayed] == [id(network[0].weight)]
    assert sum(len(group["params"]) for group in groups) == 5


def test_it_learns(data: ImageData, machine: Occupancy) -> None:
    network = built("se")
    points = list(train(network, part(data, 1280), RECIPE, 0, machine))
    assert points[1].train_loss < points[0].train_loss < 2.4
    assert all(isinstance(point, EpochPoint) and point.images_per_second > 0 for point in points)
    judged = evaluate(network, data.val.first(500), data, machine)
    assert judged.score > 0.4
    assert judged.loss < 2.0


def test_a_divergence_is_said(data: ImageData, machine: Occupancy) -> None:
    with pytest.raises(NonFiniteLoss, match=r"training loss is (nan|inf) in epoch 1 of 2"):
        list(train(built(), part(data, 320), replace(RECIPE, peak_lr=1e30), 0, machine))


@pytest.mark.parametrize(
    ("scale", "said"), [(math.inf, "norm is (inf|nan)"), (math.nan, "norm is nan"), (1e9, r"norm is \d\.\d+e\+0[6-9]")]
)
def test_gradients_that_explode_while_the_loss_is_finite(
    data: ImageData, machine: Occupancy, scale: float, said: str
) -> None:
    network = Linear()
    network.head.bias.register_hook(lambda gradient: gradient * scale)
    still = replace(RECIPE, peak_lr=1e-30)
    with pytest.raises(ExplodingGradients, match=said + " in epoch 1 of 2"):
        list(train(network, part(data, 64), replace(still, batch_size=64), 0, machine))


def test_large_gradients_are_neither_refused_nor_clipped(data: ImageData, machine: Occupancy) -> None:
    """Scaled by a thousand under a rate of a thousandth: the same steps, so the same weights."""
    plain, scaled = built(), built()
    recipe = replace(RECIPE, weight_decay=0.0)
    list(train(plain, part(data, 192), recipe, 0, machine))
    for parameter in scaled.parameters():
        parameter.register_hook(lambda gradient: gradient * 1024)
    list(train(scaled, part(data, 192), replace(recipe, peak_lr=recipe.peak_lr / 1024), 0, machine))
    for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_an_evaluation_counts_every_image(data: ImageData, machine: Occupancy) -> None:
    network = built("aff")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01)
    split = data.val.first(EVAL_BATCH + 37)
    judged = evaluate(network.train(), split, data, machine)
    with torch.no_grad():
        logits = network.eval()(normalise(split.images, torch.tensor(data.mean), torch.tensor(data.std)))
    assert judged.images == EVAL_BATCH + 37
    assert judged.correct == int((logits.argmax(dim=1) == split.labels).sum())
    assert judged.score == judged.correct / judged.images
    assert judged.loss == pytest.approx(float(F.cross_entropy(logits, split.labels)), rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_evaluation_that_is_no_number(data: ImageData, machine: Occupancy, bad: float) -> None:
    network = Linear()
    with torch.no_grad():
        network.head.bias.fill_(bad)
    split = Split(data.val.images[:3], data.val.labels[:3])
    with pytest.raises(NonFiniteLoss, match="validation loss is nan"):
        evaluate(network, split, data, machine)


def test_the_fusions_can_learn_at_a_rate_of_their_own() -> None:
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    network = space.build(space.uniform("aff"))
    optimiser = make_optimiser(network, Recipe(peak_lr=0.2, fusion_lr_scale=0.1))
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.02 if ".fuse." in name else 0.2)
    assert len(rates) == len(list(network.parameters()))


class Drawn(nn.Module):
    """Draws as people's networks do: dropout, stochastic depth by torch, numpy and Python."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Dropout(0.3))
        self.branches = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        for branch, draw in zip(
            self.branches, (lambda: float(torch.rand(())), np.random.rand, random.random), strict=True
        ):
            x = x + branch(x) if draw() < 0.5 else x
        return self.head(x)


def test_whatever_a_network_draws_follows_from_the_seed(data: ImageData, machine: Occupancy) -> None:
    curves, losses = [], []
    for disturbance, seed in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(0)
        network = Drawn()
        torch.manual_seed(disturbance)
        np.random.seed(disturbance)
        random.seed(disturbance)
        points = []
        for point in train(network, part(data, 640), replace(RECIPE, peak_lr=0.02), seed, machine):
            torch.rand(disturbance)
            random.random()
            points.append(point.train_loss)
        curves.append(points)
        losses.append(evaluate(network, data.val.first(100), data, machine).loss)
    assert (curves[0], losses[0]) == (curves[1], losses[1])
    assert curves[1] != curves[2]


def test_other_epochs_than_the_recipe_s_are_a_recipe_of_as_many(data: ImageData, machine: Occupancy) -> None:
    few, three = part(data, 192), replace(RECIPE, epochs=3)
    asked, written = (
        [point.train_loss for point in train(built(), few, recipe, 0, machine, epochs)]
        for recipe, epochs in ((RECIPE, 3), (three, None))
    )
    assert asked == written
    assert len(asked) == 3


def test_a_classifier_can_be_trained_by_adamw_cut_and_averaged(data: ImageData, machine: Occupancy) -> None:
    few = part(data, 640)
    recipe = replace(RECIPE, optimiser="adamw", peak_lr=3e-3, weight_decay=0.05)
    plain, cut, averaged = built("se"), built("se"), built("se")
    curves = [
        [point.train_loss for point in train(network, few, given, 0, machine)]
        for network, given in (
            (plain, recipe), (cut, replace(recipe, max_grad_norm=1e-9)), (averaged, replace(recipe, ema_decay=0.9)),
        )
    ]  # fmt: skip
    assert curves[0][1] < curves[0][0] < 2.4
    assert curves[0] != curves[1], "gradients of next to no length are below AdamW's epsilon"
    assert curves[0] == curves[2], "averaging leaves the training alone"
    assert not same(plain, averaged)
    assert evaluate(plain, data.val.first(500), data, machine).score > 0.3


def test_gradients_that_are_cut_may_be_long_but_not_infinite(data: ImageData, machine: Occupancy) -> None:
    recipe = replace(RECIPE, max_grad_norm=1.0, peak_lr=1e-3)
    losses = {}
    for scale in (1.0, 1e9, math.inf):
        torch.manual_seed(0)
        network = Linear()
        network.head.bias.register_hook(lambda gradient, scale=scale: gradient * scale)
        if math.isinf(scale):
            with pytest.raises(ExplodingGradients, match=r"norm is (inf|nan) in epoch 1 of 2$"):
                list(train(network, part(data, 64), recipe, 0, machine))
        else:
            losses[scale] = [point.train_loss for point in train(network, part(data, 192), recipe, 0, machine)]
    assert len(losses) == 2
