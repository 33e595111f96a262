"""Every task that is registered is whole: found by its data, with the figures and heads that it names."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from tasks_scenes import squares

from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, load_data
from trials.machine.quiet import occupied
from trials.tasks import evaluate, task_for
from trials.tasks.classification import ClassificationTask
from trials.tasks.metrics import FIGURES, TASKS, leading
from trials.tasks.registry import TASKS as ENTRIES
from trials.tasks.registry import task_with
from trials.tasks.task import name_of


@pytest.mark.parametrize("name", TASKS)
def test_a_task_stands_where_its_entry_says(name: str) -> None:
    module, _, kind = ENTRIES[name].home.partition(":")
    task = getattr(import_module(module), kind)
    for part in ("of", "begin", "batches", "part", "summed_loss", "read", "figures", "eval_batch"):
        assert hasattr(task, part), part
    assert all(task_with(targets) == name for targets in ENTRIES[name].targets)
    assert FIGURES[name] == ENTRIES[name].figures


@pytest.mark.parametrize(("name", "head"), [(name, head) for name in TASKS for head in ENTRIES[name].heads])
def test_a_head_s_task_judges_a_network_by_the_figures_that_are_registered(name: str, head: str) -> None:
    data = squares(8, 8, targets="semantic" if name == "segmentation" else "boxes")
    space = SearchSpace.named(f"resnet8-fpn-{head}", InputSpec(3, data.image_size, len(data.categories)))
    network = space.build(space.baseline)
    assert name_of(data) == name
    with occupied() as machine:
        judged = evaluate(network, data.val, data, machine)
    by_category = ENTRIES[name].by_category
    assert set(judged.figures) == {*FIGURES[name], by_category}
    assert judged.score == judged.figures[leading(name)]
    assert judged.correct is None


def test_images_are_classified_whatever_the_network() -> None:
    data = load_data(DataConfig(train_images=64))
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    network = space.build(space.baseline)
    assert isinstance(task_for(network, data), ClassificationTask)
    with occupied() as machine:
        judged = evaluate(network, data.val.first(100), data, machine)
    assert judged.correct is not None
    assert (judged.score, judged.figures) == (judged.correct / 100, {})


def test_the_registry_is_free_of_torch() -> None:
    program = "import sys, trials.tasks.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
