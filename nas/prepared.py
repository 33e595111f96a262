"""A configuration checked against what it refers to: data, space, exact costs, budgets, device profile."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from typing import Any

from nas.config import ConfigError, SearchConfig
from nas.feasibility import Feasibility
from reports.view import NothingFeasible
from search_spaces.catalogue import HEADS, design
from search_spaces.errors import SpaceError, UserError
from search_spaces.fusions import FusionSettings
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.constraints import Costs
from trials.costs import CostTable, counter_version
from trials.data import ImageData, load_data
from trials.device import processor, resolve
from trials.judge import TrialPlan
from trials.profile import DeviceProfile


@dataclass(frozen=True)
class Prepared:
    """A checked configuration with what it refers to: data, space, exact costs, budgets."""

    config: SearchConfig
    data: ImageData
    space: SearchSpace
    costs: CostTable
    profile: DeviceProfile | None

    @property
    def baseline(self) -> Costs:
        """The costs of all-add that are known without measuring."""
        return self.costs(self.space.baseline)

    @cached_property
    def feasibility(self) -> Feasibility:
        return Feasibility(self.space, self.costs, self.config.constraints(), self.baseline)

    def plan(self) -> TrialPlan:
        config = self.config
        return TrialPlan(
            self.space, config.data_config(), config.training.recipe(), config.latency.protocol(), config.device,
            screening=self.profile is None and config.latency.screen, timeout_seconds=config.training.timeout_seconds,
            data_memory=config.data_memory,
        )  # fmt: skip


def prepare(config: SearchConfig, announce: Callable[[str], None] = lambda line: None) -> Prepared:
    """Load the data, build the space and count its costs.

    Raises:
        SpaceError, DataError, DeviceError: something named does not exist or does not fit.
        NothingFeasible: no architecture meets the FLOP or parameter budget.
    """
    with _named(config, "space, operators, reductions, points or tie"):
        pyramid, _, head = config.space.rpartition("-")
        if head in HEADS:
            raise SpaceError(
                f"{config.space} is no classifier, and a search trains classifiers: give {pyramid}, or train it by "
                "trials.tasks, see README"
            )
        if design(config.space).default_input is not None:
            make_space(config)  # what is wrong with it is wrong for any data, which may take long to load
    with _named(config, "device"):
        resolve(config.device)
    with _named(config, "data"):
        data = load_data(config.data_config(), announce)
    spec = InputSpec(data.channels, data.image_size, len(data.classes))
    if len(data.train) < config.training.batch_size:
        raise ConfigError(
            f"training.batch_size: given {config.training.batch_size}, but {config.data} has "
            f"{len(data.train)} training images; give at most that"
        )
    for key in ("crop_padding", "cutout"):
        pixels = getattr(config.training, key)
        if pixels >= data.image_size:
            raise ConfigError(
                f"training.{key}: given {pixels}, but the images are {data.image_size} pixels wide; give less than that"
            )
    if config.training.epochs * (len(data.train) // config.training.batch_size) < 2:
        raise ConfigError(
            f"training: {config.training.epochs} epochs of {len(data.train)} images in batches of "
            f"{config.training.batch_size} are a single step, which trains nothing: give more epochs or smaller batches"
        )
    if (config.training.parent_epochs or 2) * (len(data.train) // config.training.batch_size) < 2:
        raise ConfigError(
            f"training.parent_epochs: {config.training.parent_epochs} epochs of {len(data.train)} images in batches of "
            f"{config.training.batch_size} are a single step, which trains nothing: give more"
        )
    with _named(config, "space"):
        space = make_space(config, spec)
    profile = None
    if config.latency_profile is not None:
        with _named(config, "latency_profile"):
            profile = DeviceProfile.load(config.latency_profile)
            profile.check_space(space)
    prepared = Prepared(config, data, space, CostTable(space), profile)
    impossible = prepared.feasibility.impossible()
    if impossible is not None:
        raise NothingFeasible(impossible)
    return prepared


@contextmanager
def _named(config: SearchConfig, key: str) -> Iterator[None]:
    """Say which file and key a value came from that turns out not to fit."""
    try:
        yield
    except UserError as error:
        if config.source is None:
            raise
        raise ConfigError(f"{config.source}: {key}: {error}") from None


def make_space(config: SearchConfig, spec: InputSpec | None = None) -> SearchSpace:
    """The space of a configuration, for its network's own input unless one is given."""
    settings = FusionSettings(**config.fusion.model_dump())
    return SearchSpace.named(
        config.space, spec, config.operators, config.reductions, config.points, config.tie, settings
    )


def describe(prepared: Prepared) -> dict[str, Any]:
    """What a report needs to know of a run beside its configuration, as JSON."""
    config, space = prepared.config, prepared.space
    return {
        "objectives": list(config.objectives),
        "space": space.to_json() | {"fingerprint": space.fingerprint},
        "size": space.size,
        "points": [point.to_json() for point in space.points],
        "data": describe_data(prepared.data),
        "counting": describe_counting(space),
        "latency_protocol": asdict(
            config.latency.protocol() if prepared.profile is None else prepared.profile.latency_protocol()
        ),
        "environment": versions(),
    }


def describe_data(data: ImageData) -> dict[str, Any]:
    """What the data are, and what is wrong with them, as JSON."""
    return {
        "name": data.name,
        "channels": data.channels,
        "image_size": data.image_size,
        "classes": list(data.classes),
        "train": len(data.train),
        "val": len(data.val),
        "test": None if data.test is None else len(data.test),
        "fingerprint": data.fingerprint,
        "findings": data.findings.to_json(),
    }


def describe_counting(space: SearchSpace) -> dict[str, Any]:
    """What the multiply-adds and the other work of a run were counted of, and with what."""
    return {
        "input_shape": [1, *space.input_shape],
        "counter": counter_version(),
    }


def versions() -> dict[str, Any]:
    """The machine of the driver and the versions of what results depend on."""
    found = {"host": platform.node(), "processor": processor(), "python": platform.python_version()}
    for package in ("fusion-nas", "torch", "torchvision", "optuna", "ray", "fvcore", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
