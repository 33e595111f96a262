"""What trials start from: a parent's function, a path of a supernet, and statistics taken anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from search_spaces import Architecture, InputSpec, SearchSpace
from search_spaces.space import fusion_modules
from search_spaces.supernet import build_supernet, choose_path
from trials.data import DataConfig, normalise
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.machine.device import autocast
from trials.machine.quiet import occupied
from trials.seeds import generator
from trials.training.starts import FromParent, FromScratch, FromSupernet, Start, WholeSupernet, start_from
from trials.training.step import make_optimiser
from trials.trial import LatencyProtocol, Recipe, TrialJob, TrialState

SPACE = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ["add", "concat", "se", "cbam", "aff", "iaff"], [4])
PLAN = TrialPlan(
    SPACE,
    DataConfig(train_images=256, val_fraction=0.01),
    Recipe(epochs=1, batch_size=64),
    LatencyProtocol(),
    "cpu",
    screening=False,
)


def outcome(bench: Bench, start: Start, architecture: Architecture, seed: int = 1) -> TrialOutcome:
    """A trial from `start`; what starts from trained weights is tuned gently."""
    gentle = PLAN.recipe if isinstance(start, FromScratch | WholeSupernet) else replace(PLAN.recipe, peak_lr=0.02)
    bench.plan = replace(PLAN, start=start, recipe=gentle)
    bench.trainer = replace(bench.trainer, recipe=gentle)
    *_, last = bench.judge(TrialJob(0, "sampler", architecture, seed, bench.plan.recipe.epochs, 1, 1))
    assert isinstance(last, TrialOutcome)
    assert last.result.state is TrialState.COMPLETE, last.result.error
    return last


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_NAS_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield Bench(PLAN)


@pytest.fixture(scope="module")
def parent(bench: Bench) -> TrialOutcome:
    return outcome(bench, FromScratch(), SPACE.baseline)


@pytest.fixture(scope="module")
def supernet(bench: Bench) -> TrialOutcome:
    return outcome(bench, WholeSupernet(), SPACE.baseline)


def weights(given: TrialOutcome) -> bytes:
    assert given.weights is not None
    return given.weights


def test_before_its_first_step_a_candidate_is_as_good_as_the_parent(bench: Bench, parent: TrialOutcome) -> None:
    bench.plan = replace(PLAN, start=FromParent(weights(parent)))
    for op in SPACE.operators:
        network = bench.build(SPACE.uniform(op), seed=3)
        with occupied() as machine:
            found = bench.trainer.evaluate(network, machine)
        assert found.loss == pytest.approx(parent.result.loss, rel=1e-5)
        assert abs(found.correct - (parent.result.correct or 0)) <= 1  # rounding may move an image that is undecided


def test_fine_tuning_goes_on_from_the_parent(bench: Bench, parent: TrialOutcome) -> None:
    tuned = outcome(bench, FromParent(weights(parent)), SPACE.uniform("se"))
    assert tuned.result.loss < parent.result.loss
    assert tuned.result.curve[0].train_loss < parent.result.curve[-1].train_loss


def test_new_fusions_start_and_learn_as_in_a_new_network(bench: Bench, parent: TrialOutcome) -> None:
    bench.plan = replace(PLAN, start=FromParent(weights(parent)))
    inherited = bench.build(SPACE.uniform("aff"), seed=3)
    bench.plan = PLAN
    new = bench.build(SPACE.uniform("aff"), seed=3).state_dict()
    trunk = load(weights(parent))
    for name, tensor in inherited.state_dict().items():
        assert torch.equal(tensor, trunk[name] if name in trunk else new[name]), name
    rates = {group["lr"] for group in make_optimiser(inherited, replace(PLAN.recipe, fusion_lr_scale=3.0)).param_groups}
    assert len(rates) == 2


def test_a_supernet_follows_from_its_seed(bench: Bench, supernet: TrialOutcome) -> None:
    assert weights(outcome(bench, WholeSupernet(), SPACE.baseline)) == weights(supernet)
    assert weights(outcome(bench, WholeSupernet(), SPACE.baseline, seed=2)) != weights(supernet)


def test_a_step_trains_one_path_and_paths_are_drawn_uniformly() -> None:
    network = WholeSupernet().network(SPACE, SPACE.baseline, seed=0).train()
    images, taken = torch.zeros(2, 1, 16, 16), []
    for step in range(90):
        with torch.set_grad_enabled(step == 0):
            logits = network(images)
        taken.append({name: fusion.chosen for name, fusion in fusion_modules(network).items()})
        if step == 0:
            logits.sum().backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None and ".choices." in name}
    assert moved
    assert {name.split(".choices.")[1].split(".")[0] for name in moved} <= set(taken[0].values())
    for point in SPACE.points:
        counts = [sum(path[point.name] == str(choice) for path in taken) for choice in point.choices]
        assert all(5 <= count <= 28 for count in counts), counts  # of 90 draws of six: 15 ± 3.5
    assert len({tuple(path.values()) for path in taken}) > 60
    network.eval()(images)
    assert {fusion.chosen for fusion in fusion_modules(network).values()} == {"add"}


def test_a_trial_of_a_supernet_is_its_path_trained_on(bench: Bench, supernet: TrialOutcome) -> None:
    start = FromSupernet(weights(supernet))
    first, again = outcome(bench, start, SPACE.uniform("cbam")), outcome(bench, start, SPACE.uniform("cbam"))
    assert first.weights == again.weights
    assert (first.result.loss, first.result.correct) == (again.result.loss, again.result.correct)
    shared, network = load(weights(supernet)), bench.build(SPACE.uniform("cbam"), seed=9)
    state = network.state_dict()
    assert torch.equal(state["layer2.0.conv1.weight"], shared["layer2.0.conv1.weight"])
    name = next(name for name in state if name.startswith("layer2.0.fuse.") and name.endswith("weight"))
    assert torch.equal(state[name], shared[name.replace("fuse.", "fuse.choices.cbam/4.")])
    assert first.result.curve[0].train_loss < supernet.result.curve[0].train_loss


def test_recalibration_is_torchs_where_there_is_nothing_else_to_keep(bench: Bench) -> None:
    trainer = bench.trainer
    data = trainer.data
    torch.manual_seed(0)
    ours = SPACE.build(SPACE.uniform("aff"))
    theirs = copy.deepcopy(ours)
    with occupied() as machine:
        trainer.recalibrate(ours, 0, machine)
    mean, std = (torch.tensor(values) for values in (data.mean, data.std))
    order = torch.randperm(256, generator=generator(0, "recalibration"))
    batches = normalise(data.train.images[order], mean, std).contiguous(memory_format=torch.channels_last).split(64)
    with autocast(trainer.recipe.precision, torch.device("cpu")):
        torch.optim.swa_utils.update_bn(iter(batches), theirs)
    norms = [(a, b) for a, b in zip(ours.modules(), theirs.modules(), strict=True) if isinstance(a, _BatchNorm)]
    assert norms
    for a, b in norms:
        torch.testing.assert_close(a.running_mean, b.running_mean)
        torch.testing.assert_close(a.running_var, b.running_var)
    assert all(a.momentum == 0.1 and not a.training and a.num_batches_tracked == 4 for a, _ in norms)


def test_recalibration_leaves_other_paths_alone_and_drops_nothing(bench: Bench) -> None:
    supernet = build_supernet(SPACE)
    choose_path(supernet, SPACE.uniform("aff"))
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    with occupied() as machine:
        bench.trainer.recalibrate(supernet, 0, machine)
    changed = {n for n, t in supernet.state_dict().items() if not torch.equal(t, before[n])}
    assert any(".choices.aff/4." in name for name in changed)
    assert {name.split(".choices.")[1].split(".")[0] for name in changed if ".choices." in name} == {"aff/4"}
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in changed)

    network = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1))
    with occupied() as machine:
        bench.trainer.briefly(64).recalibrate(network, 0, machine)
    assert float(network[1].running_var) == pytest.approx(1.0, abs=0.3)  # dropout would make it about ten


class KeepsItsNorm(nn.Module):
    """As fine-tuning usually freezes a norm: it stays in evaluation whatever the network is put in."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.learnt = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
        for norm in (self.kept, self.learnt):
            nn.init.constant_(norm.running_mean, 7.0)
            nn.init.constant_(norm.running_var, 3.0)

    def train(self, mode: bool = True) -> KeepsItsNorm:
        super().train(mode)
        self.kept.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.learnt(self.kept(x))


def test_recalibration_leaves_a_norm_that_training_leaves(bench: Bench) -> None:
    network = nn.Sequential(KeepsItsNorm())
    with occupied() as machine:
        bench.trainer.briefly(64).recalibrate(network, 0, machine)
    kept, learnt = network[0].kept, network[0].learnt
    assert (kept.running_mean.item(), kept.running_var.item(), kept.num_batches_tracked.item()) == (7.0, 3.0, 0)
    assert abs(learnt.running_mean.item() - 7.0) > 1
    assert not any(module.training for module in network.modules())


def test_a_start_shows_no_weights_and_knows_its_regime() -> None:
    start = start_from("inherit", b"secret")
    assert isinstance(start, FromParent)
    assert isinstance(start_from("supernet", b""), FromSupernet)
    assert "secret" not in repr(replace(PLAN, start=start))
