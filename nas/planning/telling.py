"""What a plan would tell, before anything is trained: how it is divided, and a warning where it could tell nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nas.planning.dividing import Demand, Division, Means, divide, points
from nas.planning.ledger import Limits
from nas.planning.pace import Pace, Work
from nas.planning.planner import devices_of
from nas.planning.resolution import SPREAD, Noise, noise_before
from nas.settings.search import SearchConfig

#: Steps of a training below which nothing tells architectures apart: 48 (3 epochs of 2,000 images in batches of 128)
#: ranked nothing, 120 on the embedded images did.
FEWEST_STEPS = 60


@dataclass(frozen=True)
class Images:
    """How many there are to train on, to select by and to judge finalists by (None: no such split)."""

    train: int
    val: int
    test: int | None


def planned(config: SearchConfig, images: Images, trial_s: float, shared_s: float, workers: int) -> Division:
    """As a search would divide what it is given, were its noise what is expected and a trial to take `trial_s`, after
    `shared_s` for what all start from."""
    rungs, finalists = config.rung_epochs, config.wanted_finalists if images.test else 0
    demand = Demand(
        config.wanted_trials, 0, rungs, finalists, config.finalist_seeds, len(config.seeds_of_finalists)
    )  # fmt: skip
    limits, devices = Limits(config.max_seconds, config.max_device_seconds), devices_of(config)
    pace = Pace(Work(images.train, images.val, images.test or 0))
    pace.assume(trial_s, config.training.epochs)
    means = Means(
        None if limits.seconds is None else limits.seconds - shared_s,
        None if limits.device_seconds is None else limits.device_seconds - devices * shared_s,
        workers, devices, tuple(map(pace.typical, rungs)), pace.typical(rungs[-1], final=True), 0.0,
    )  # fmt: skip
    found = divide(demand, means, _noise(config, images.test))
    return replace(found, seconds=(found.seconds or 0.0) + shared_s)


def warnings(config: SearchConfig, images: Images, division: Division) -> list[str]:
    """Why such a plan could not tell architectures apart, a sentence each; none where it may."""
    found = []
    steps = division.rungs[0] * (images.train // config.training.batch_size)
    if steps < FEWEST_STEPS:
        enough = math.ceil(division.rungs[0] * FEWEST_STEPS / max(steps, 1))
        found.append(
            f"a training is {steps} steps, too few to tell architectures apart: {FEWEST_STEPS} are {enough} epochs of "
            f"{images.train:,} images, or take smaller batches"
        )
    if config.task == "classification":
        by_images = math.sqrt(2) * _noise(config, images.val).image
        if by_images > SPREAD:
            found.append(
                f"{images.val:,} validation images alone move a difference of two networks by {points(by_images)}, and "
                f"operators differ by about {points(SPREAD)}: more of them (val_fraction) would tell"
            )
    if division.resolves is not None and division.resolves > SPREAD:
        on = f" on {images.test:,} test images" if config.task == "classification" else ""
        found.append(
            f"finals resolve {points(division.resolves)}{on}, and operators differ by about {points(SPREAD)}: more "
            "test images or seeds would tell; else only the loss may decide"
        )
    if config.wanted_finalists and images.test and not division.finalists:
        found.append("there is no time for finalists, so there will be no verdict: give more hours, or fewer epochs")
    if division.looks[0] < 2:
        found.append(f"there is time for {division.looks[0]} looks, and nothing to compare: give more hours")
    return found


def plan_json(config: SearchConfig, division: Division) -> Mapping[str, Any]:
    return {**division.to_json(), "text": division.text(config.max_seconds)}


def _noise(config: SearchConfig, images: int | None) -> Noise:
    counted = images if config.task == "classification" else None
    return noise_before(config.training.regime == "scratch", counted)
