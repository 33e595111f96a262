"""A step that is captured and replayed is the same step; what cannot be captured is trained without.

Where there is no GPU, what records a step is a function that keeps the work and does it again: all but the CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.data import DataConfig, ImageData, load_data
from trials.machine.device import on_device
from trials.machine.quiet import occupied
from trials.tasks.batches import Batches
from trials.training import cuda_graph
from trials.training.cuda_graph import CaptureFailed, ReplayedStep, Work, replayed
from trials.training.loop import train
from trials.training.step import TrainingStep, make_optimiser
from trials.trial import EpochPoint, Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=32, cuda_graph=True, cutout=4, colour=0.2, mixup=0.2)
SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
MIXTURE = SPACE.architecture({"layer1.0": "se/4", "layer2.0": "aff/4", "layer3.0": "iaff/4"})


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(DataConfig(train_images=100))


def network_of(device: torch.device = CPU) -> nn.Module:
    torch.manual_seed(0)
    return on_device(SPACE.build(MIXTURE), device)


def step_of(data: ImageData, network: nn.Module) -> tuple[TrainingStep, Batches]:
    batches = Batches(data, RECIPE, CPU)
    return TrainingStep(network.train(), make_optimiser(network, RECIPE), batches, RECIPE), batches


def again(work: Work) -> Work:
    """Capturing does the work once here, as it may not on a GPU: nothing is to depend on that."""
    work()
    return work


def differences(one: TrainingStep, other: TrainingStep) -> list[float]:
    pairs = [pair for groups in zip(one.state(), other.state(), strict=True) for pair in zip(*groups, strict=True)]
    return [float((a.detach().double() - b.detach().double()).abs().max()) for a, b in pairs]


def test_replayed_steps_are_the_steps_to_the_bit(data: ImageData) -> None:
    plain, batches = step_of(data, network_of())
    step, _ = step_of(data, network_of())
    first, *_ = batches.draw(3, 0)
    graph = ReplayedStep(step, first, again)
    assert max(differences(plain, step)) == 0  # trying it has changed nothing
    for draws in batches.draw(3, 0):
        plain(draws)
        graph(draws)
    assert max(differences(plain, step)) == 0
    assert float(plain.total) > 3  # of three batches


def test_a_network_that_drops_at_random_draws_the_same_after_a_capture(data: ImageData) -> None:
    after = []
    for record in (None, again):
        step, batches = step_of(data, nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10)))
        torch.nn.init.ones_(step.network.get_parameter("2.weight"))
        torch.nn.init.zeros_(step.network.get_parameter("2.bias"))
        first, *_ = batches.draw(3, 0)
        torch.manual_seed(1)
        take = step if record is None else ReplayedStep(step, first, record)
        take(first)
        after.append(step)
    assert max(differences(*after)) == 0


def fails(work: Work) -> Work:
    work()
    raise RuntimeError("operation not permitted\nwhen stream is capturing")


def other_work(data: ImageData, step: TrainingStep) -> Callable[[Work], Work]:
    """A recording that misses what changes from batch to batch."""
    draws = next(Batches(data, RECIPE, CPU).draw(8, 1))

    def record(work: Work) -> Work:
        return lambda: step(draws)

    return record


def test_what_fails_or_comes_out_as_another_step_leaves_everything_as_it_was(data: ImageData) -> None:
    plain, batches = step_of(data, network_of())
    step, _ = step_of(data, network_of())
    first, *_ = batches.draw(3, 0)
    with pytest.raises(CaptureFailed, match=r"^RuntimeError: operation not permitted when stream is capturing$"):
        ReplayedStep(step, first, fails)
    assert max(differences(plain, step)) == 0
    with pytest.raises(CaptureFailed, match=r"a replayed step ended 0\.\d+|1\.\d+ of its length away"):
        ReplayedStep(step, first, other_work(data, step))
    with pytest.raises(CaptureFailed, match="a replayed step ended nan of its length"):
        ReplayedStep(step, first, lambda work: lambda: step.network.get_parameter("fc.weight").data.fill_(torch.nan))
    assert max(differences(plain, step)) == 0


def test_on_a_cpu_training_goes_on_without_and_says_why(data: ImageData) -> None:
    found: list[list[EpochPoint]] = []
    for recipe in (RECIPE, replace(RECIPE, cuda_graph=False)):
        with occupied() as machine:
            found.append(list(train(network_of(), data, recipe, 3, machine)))
    graph, plain = found
    assert [point.cuda_graph for point in graph] == ["none: there is no CUDA device", None]
    assert [point.cuda_graph for point in plain] == [None, None]
    for one, other in zip(graph, plain, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=2e-3)  # its rates are float32 tensors


def test_what_does_not_repay_itself_is_not_captured(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    step, batches = step_of(data, network_of())
    step.device = torch.device("cuda")
    with pytest.raises(CaptureFailed, match="6 steps do not repay it, 50 would"):
        replayed(step, batches, 3, 6)
    away = Batches(data, RECIPE, torch.device("meta"))
    with pytest.raises(CaptureFailed, match="its images do not lie on the GPU"):
        replayed(step, away, 3, 600)


@pytest.mark.gpu
def test_on_a_gpu_a_graph_trains_as_the_same_steps_do(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "LEAST_STEPS", 2)
    monkeypatch.setattr(cuda_graph, "LEAST_TORCH", "2.11")  # one that is captured needs no more
    cuda = torch.device("cuda")
    resident = replace(data, train=data.train.to(cuda), val=data.val.to(cuda))
    losses = []
    for recipe in (RECIPE, replace(RECIPE, cuda_graph=False)):
        with occupied(torch.cuda.synchronize) as machine:
            points = list(train(network_of(cuda), resident, recipe, 3, machine))
        assert points[0].cuda_graph == ("replayed" if recipe.cuda_graph else None)
        losses.append([point.train_loss for point in points])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
