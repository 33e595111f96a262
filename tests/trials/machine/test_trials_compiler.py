"""A worker's first seconds: no trial of a classifier waits for torch's compiler, or computes otherwise without it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trials_results import process

JUDGE = """
import hashlib, json, sys
if sys.argv[1] == "with":
    import torch._dynamo
from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig
from trials.judge import Bench, TrialPlan
from trials.trial import LatencyProtocol, Recipe, TrialJob
space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
data, recipe = DataConfig(train_images=256, val_fraction=0.05), Recipe(epochs=1, batch_size=64)
bench = Bench(TrialPlan(space, data, recipe, LatencyProtocol(), "cpu", screening=False))
bench.warm_up()
*_, outcome = bench.judge(TrialJob(0, "sampler", space.uniform("se"), 1, 1, 1, 1))
there = sorted({"torch._dynamo", "torchvision"} & set(sys.modules))
print(json.dumps({"loss": outcome.result.loss, "weights": hashlib.sha256(outcome.weights).hexdigest(), "there": there}))
"""
STEP = """
import json, sys
if sys.argv[1] == "with":
    import torch._dynamo
import torch
from trials.machine.compiler import spare_the_compiler
spare_the_compiler()
found = []
for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = make([weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=4)
    for _ in range(3):
        optimiser.zero_grad()
        (weight**3).sum().backward()
        optimiser.step()
        schedule.step()
    optimiser.load_state_dict(optimiser.state_dict())
    found.append([weight.tolist(), weight.requires_grad])
print(json.dumps({"found": found, "there": "torch._dynamo" in sys.modules}))
"""


def ran(code: str, compiler: str) -> dict[str, Any]:
    text, _ = process(code, compiler).communicate(timeout=120)
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_trial_is_judged_without_the_compiler_and_to_the_bit_as_with_it() -> None:
    spared, imported = (ran(JUDGE, how) for how in ("without", "with"))
    assert spared.pop("there") == []
    assert imported.pop("there") == ["torch._dynamo"]
    assert spared == imported


@pytest.mark.slow
def test_optimisers_step_as_they_do() -> None:
    spared, imported = (ran(STEP, how) for how in ("without", "with"))
    assert (spared.pop("there"), imported.pop("there")) == (False, True)
    assert spared == imported
