"""A configuration checked against what it refers to: data, space, exact costs, budgets, device profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.settings.errors import ConfigError
from nas.settings.search import SearchConfig
from nas.trainings.batch_of_one import check_batch
from reports.errors import NothingFeasible
from search_spaces.catalogue import HEADS, design
from search_spaces.errors import SpaceError, UserError
from search_spaces.fusions import FusionSettings
from search_spaces.networks import InputSpec
from search_spaces.space import SearchSpace
from trials.agreement import Agreement
from trials.budgets.constraints import Costs
from trials.budgets.feasibility import Feasibility
from trials.costs import CostTable, counter_version
from trials.data import DataError, ImageData, SceneData, SceneSplit
from trials.data.readers.masks import IGNORED
from trials.data.shipped import ShippedData
from trials.judge import TrialPlan
from trials.machine.device import check_name, resolve
from trials.profile import DeviceProfile
from trials.tasks.average_precision import sizes_of
from trials.training.final import judged_split
from trials.training.trainer import Trainer, make_trainer


@dataclass(frozen=True)
class Prepared:
    """A checked configuration with what it refers to: data, space, exact costs, budgets."""

    config: SearchConfig
    trainer: Trainer
    space: SearchSpace
    costs: CostTable
    profile: DeviceProfile | None

    @property
    def data(self) -> ImageData | SceneData:
        return self.trainer.data

    @property
    def baseline(self) -> Costs:
        """The costs of all-add that are known without measuring."""
        return self.costs(self.space.baseline)

    @cached_property
    def feasibility(self) -> Feasibility:
        return Feasibility(self.space, self.costs, self.config.constraints(), self.baseline)

    def plan(self) -> TrialPlan:
        config = self.config
        data = ShippedData(self.data) if config.ray.ship_data else config.data_config()
        return TrialPlan(
            self.space, data, config.training.recipe(), config.latency.protocol(), config.device,
            screening=config.screens_latency, timeout_seconds=config.training.timeout_seconds,
            data_memory=config.data_memory, agreement=Agreement(self.data.fingerprint, self.space.fingerprint),
        )  # fmt: skip


def prepare(config: SearchConfig, announce: Callable[[str], None] = lambda line: None) -> Prepared:
    """Load the data, build the space and count its costs.

    Raises:
        SpaceError, DataError, DeviceError: something named does not exist or does not fit.
        NothingFeasible: no architecture meets the FLOP or parameter budget.
    """
    with _named(config, "space, operators, reductions, points or tie"):
        if config.task == "classification" and config.space.rpartition("-")[2] in HEADS:
            raise SpaceError(f"{config.space} is no classifier, but the task is classification: give another one")
        if design(config.space).default_input is not None:
            make_space(config)  # what is wrong with it is wrong for any data, which may take long to load
    with _named(config, "device"):
        (check_name if config.elsewhere else resolve)(config.device)
    with _named(config, "data"):
        trainer = make_trainer(config.data_config(), config.training.recipe(), announce)
    spec = _input_of(trainer.data)
    _check_training(config, len(trainer.data.train), spec.size)
    if isinstance(trainer.data, SceneData):
        _check_figures(config, trainer.data, trainer.data.val, "validation")
    _check_test(config, trainer.data)
    with _named(config, "space"):
        space = make_space(config, spec)
    check_batch(space, config.training.batch_size)
    profile = None
    if config.latency_profile is not None:
        with _named(config, "latency_profile"):
            profile = DeviceProfile.load(config.latency_profile)
            profile.check_space(space)
    prepared = Prepared(config, trainer, space, CostTable(space), profile)
    impossible = prepared.feasibility.impossible()
    if impossible is not None:
        raise NothingFeasible(impossible)
    return prepared


def _input_of(data: ImageData | SceneData) -> InputSpec:
    if isinstance(data, SceneData):
        return InputSpec(3, data.image_size, len(data.categories))
    return InputSpec(data.channels, data.image_size, len(data.classes))


def _check_training(config: SearchConfig, images: int, image_size: int) -> None:
    """Raises ConfigError where the recipe does not fit so many training images, or images of that size."""
    training = config.training
    if images < training.batch_size:
        raise ConfigError(
            f"training.batch_size: given {training.batch_size}, but {config.data} has "
            f"{images} training images; give at most that"
        )
    for key in ("crop_padding", "cutout"):
        pixels = getattr(training, key, 0)
        if pixels >= image_size:
            raise ConfigError(
                f"training.{key}: given {pixels}, but the images are {image_size} pixels wide; give less than that"
            )
    steps = images // training.batch_size
    if training.epochs * steps < 2:
        raise ConfigError(
            f"training: {training.epochs} epochs of {images} images in batches of "
            f"{training.batch_size} are a single step, which trains nothing: give more epochs or smaller batches"
        )
    if (training.parent_epochs or 2) * steps < 2:
        raise ConfigError(
            f"training.parent_epochs: {training.parent_epochs} epochs of {images} images in batches of "
            f"{training.batch_size} are a single step, which trains nothing: give more"
        )


def _check_test(config: SearchConfig, data: ImageData | SceneData) -> None:
    """Raises ConfigError where there are to be finalists, and no images to judge them by."""
    if not config.wanted_finalists or (data.test is None and config.finalists is None):
        return  # a run that began before there were finalists has no test split: that stage is skipped, and says so
    try:
        judged = judged_split(data)
    except DataError as error:
        raise ConfigError(f"finalists: {error}") from None
    if isinstance(data, SceneData):
        assert isinstance(judged, SceneSplit)
        _check_figures(config, data, judged, "test")


def _check_figures(config: SearchConfig, data: SceneData, split: SceneSplit, named: str) -> None:
    """Raises ConfigError where the score, or a figure that is asked for, is of what the images of a split lack."""
    if split.maps is not None:
        _check_maps(config, data, split.maps, named)
        return
    there = sizes_of(split)
    if not sum(there.values()):
        raise ConfigError(f"data: the {named} images of {config.data} show no object: AP cannot be told")
    if named == "test":
        return
    for figure in dict.fromkeys([*config.objectives, *config.minimum]):
        size = figure.rpartition("_")[2]
        if there.get(size) == 0:
            key = "objectives" if figure in config.objectives else "minimum"
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in there.items())
            raise ConfigError(
                f"{key}: {figure} is of {size} objects, and the validation images of {config.data} show none: "
                f"they have {kinds}"
            )


def _check_maps(config: SearchConfig, data: SceneData, maps: Tensor, named: str) -> None:
    """Raises ConfigError where all pixels that count are of one class: a constant would score 100 %."""
    shown = torch.unique(maps)
    shown = shown[shown != IGNORED].tolist()
    if len(shown) > 1:
        return
    what = f"class {data.categories[shown[0]]!r} alone" if shown else "no pixel that counts"
    raise ConfigError(
        f"data: the {named} maps of {config.data} show {what}, of {len(data.categories)} classes: mIoU cannot tell "
        "networks apart; give maps with at least two classes"
    )


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
        "task": config.task,
        "objectives": list(config.objectives),
        "space": space.to_json() | {"fingerprint": space.fingerprint},
        "size": space.size,
        "points": [point.to_json() for point in space.points],
        "data": describe_data(prepared.data),
        "counting": describe_counting(space),
        "latency_protocol": asdict(
            config.latency.protocol() if prepared.profile is None else prepared.profile.latency_protocol()
        ),
    }


def describe_data(data: ImageData | SceneData) -> dict[str, Any]:
    """What the data are, and what is wrong with them, as JSON."""
    splits = {name: None if (split := getattr(data, name)) is None else len(split) for name in ("train", "val", "test")}
    if isinstance(data, SceneData):
        described = data.description()
        return {
            **described,
            "name": named_briefly(data.title),
            "channels": 3,
            "classes": described.pop("categories"),
            **splits,
            **({} if data.targets == "semantic" else {"objects_by_size": sizes_of(data.val)}),
        }
    return {
        "name": named_briefly(data.name),
        "channels": data.channels,
        "image_size": data.image_size,
        "classes": list(data.classes),
        **splits,
        "fingerprint": data.fingerprint,
        "findings": data.findings.to_json(),
    }


def named_briefly(data: str) -> str:
    """Data by their kind and the last folder of their path: whoever reads of them may be on another machine."""
    form, colon, folder = data.partition(":")
    return f"{form}:{Path(folder).name}" if colon else data


def describe_counting(space: SearchSpace) -> dict[str, Any]:
    """What the multiply-adds and the other work of a run were counted of, and with what."""
    return {
        "input_shape": [1, *space.input_shape],
        "counter": counter_version(),
    }
