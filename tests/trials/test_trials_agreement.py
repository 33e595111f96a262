"""A worker says, in a line that names its machine, where its data or its space are not the driver's."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.agreement import Agreement
from trials.data import DataConfig, load_data
from trials.errors import NodeDiffers
from trials.judge import Bench, TrialPlan
from trials.trial import LatencyProtocol, Recipe

ELSEWHERE = ("head", 1)


@pytest.fixture
def plan() -> TrialPlan:
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10))
    config = DataConfig(train_images=128)
    agreement = Agreement(load_data(config).fingerprint, space.fingerprint, ELSEWHERE)
    return TrialPlan(space, config, Recipe(), LatencyProtocol(), "cpu", agreement=agreement)


def test_what_agrees_is_begun_with(plan: TrialPlan) -> None:
    assert plan.agreement is not None
    assert Bench(plan).trainer.data.fingerprint == plan.agreement.data


def test_other_data_of_that_name_are_refused(plan: TrialPlan) -> None:
    other = replace(plan, data=DataConfig(train_images=127))
    with pytest.raises(
        NodeDiffers, match=rf"^{platform.node()} has other data of the name fashion-mnist-mini \(finger"
    ):
        Bench(other)


def test_data_that_are_not_there_are_missed_by_name(plan: TrialPlan, tmp_path: Path) -> None:
    with pytest.raises(NodeDiffers, match=rf"^{platform.node()} lacks the data: .*{tmp_path}/gone.*--ship-data true"):
        Bench(replace(plan, data=DataConfig(f"folder:{tmp_path}/gone")))


def test_a_space_that_another_version_makes_otherwise_is_refused(plan: TrialPlan) -> None:
    assert plan.agreement is not None
    with pytest.raises(NodeDiffers, match=rf"^{platform.node()} makes another space of resnet8 \(fingerprint \w{{16}}"):
        Bench(replace(plan, agreement=replace(plan.agreement, space="0" * 16)))


def test_the_driver_agrees_with_itself(plan: TrialPlan) -> None:
    Bench(replace(plan, agreement=Agreement("never compared", "never compared")))
