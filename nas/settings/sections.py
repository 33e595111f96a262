"""The sections of a configuration: how candidates are trained and measured, how operators are made, where Ray runs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nas.settings.durations import parse_seconds
from search_spaces.errors import UserError
from trials.tasks.recipe import SceneRecipe
from trials.trial import LatencyProtocol, Precision, Recipe


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used: one line that names where, what was given and what is allowed."""


#: Regimes under which all trials start from weights that are trained once.
SHARED = ("inherit", "supernet")
#: Times a trial's, where the parent's or supernet's epochs are not given.
_PARENT_EPOCHS = 4
#: Keys of [training] that are not the recipe of one training.
_NO_RECIPE = {"trial_timeout", "regime", "parent", "parent_epochs", "fine_tune_lr"}


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainingSection(Section):
    """[training]: how every candidate is trained, whatever the task; its defaults are those of classifiers."""

    epochs: Annotated[int, Field(ge=1)] = 3
    batch_size: Annotated[int, Field(ge=1)] = 128
    peak_lr: Annotated[float, Field(gt=0)] = 0.2
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    fusion_lr_scale: Annotated[float, Field(gt=0)] = 1.0
    precision: Precision = "auto"
    trial_timeout: str | None = None
    regime: Literal["scratch", "inherit", "supernet"] = "scratch"
    parent: str | None = None
    parent_epochs: Annotated[int, Field(ge=1)] | None = None
    fine_tune_lr: Annotated[float, Field(gt=0)] | None = None

    @field_validator("trial_timeout")
    @classmethod
    def _readable_time(cls, text: str | None) -> str | None:
        if text is not None:
            parse_seconds(text)
        return text

    @model_validator(mode="before")
    @classmethod
    def _settle_parent_epochs(cls, given: Any) -> Any:
        """The default depends on `epochs`, which `nas noise` and `nas trust` change: a run keeps what it began with."""
        if not isinstance(given, dict) or given.get("parent") is not None:
            return given
        if given.get("regime", cls.model_fields["regime"].default) not in SHARED:
            return given
        epochs = given.get("epochs", cls.model_fields["epochs"].default)
        settled = _PARENT_EPOCHS * epochs if isinstance(epochs, int) else None
        return {**given, "parent_epochs": settled} if given.get("parent_epochs") is None else given

    @model_validator(mode="after")
    def _parent_of_regime(self) -> TrainingSection:
        if self.regime not in SHARED:
            for key in ("parent", "parent_epochs", "fine_tune_lr"):
                if (value := getattr(self, key)) is not None:
                    raise ConfigError(
                        f"{key} is {value!r}, but under regime {self.regime} every trial starts from new weights: "
                        "drop it, or give regime inherit"
                    )
        if self.parent is not None and self.regime != "inherit":
            raise ConfigError(f"parent is {self.parent!r}, but regime {self.regime} trains its own: drop one of them")
        if self.parent is not None and self.parent_epochs is not None:
            raise ConfigError(f"parent is {self.parent!r} and parent_epochs {self.parent_epochs}: give one of them")
        return self

    def recipe(self) -> Recipe | SceneRecipe:
        """Of a trial. What starts from trained weights is fine-tuned at a quarter of the peak rate, unless said."""
        return self._recipe(self.epochs, self._tuning_lr if self.regime in SHARED else self.peak_lr)

    def parent_recipe(self) -> Recipe | SceneRecipe | None:
        """Of the parent or supernet; None where none is trained."""
        return None if self.parent_epochs is None else self._recipe(self.parent_epochs, self.peak_lr)

    @abstractmethod
    def _recipe(self, epochs: int, peak_lr: float) -> Recipe | SceneRecipe:
        """With these in place of its own."""

    @property
    def _tuning_lr(self) -> float:
        return self.peak_lr / 4 if self.fine_tune_lr is None else self.fine_tune_lr

    @property
    def timeout_seconds(self) -> float | None:
        """After how long a trial has failed; None for never."""
        return None if self.trial_timeout is None else parse_seconds(self.trial_timeout)


class ImageTraining(TrainingSection):
    """[training] of classifiers.

    Their regime: on CIFAR-10 short trials from scratch ranked 24 architectures as full trainings do with a Kendall τ of
    0.10, inherited ones with 0.51; on the embedded images the intervals of 16 overlap (benchmarks/results).
    """

    regime: Literal["scratch", "inherit", "supernet"] = "inherit"
    batch_size: Annotated[int, Field(ge=8)] = 128
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    crop_padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True
    cutout: Annotated[int, Field(ge=0)] = 0
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    recalibrate: bool = True
    cuda_graph: bool = False

    def _recipe(self, epochs: int, peak_lr: float) -> Recipe:
        return Recipe(**self.model_dump(exclude=_NO_RECIPE) | {"epochs": epochs, "peak_lr": peak_lr})


class SceneTraining(TrainingSection):
    """[training] of detectors and segmenters, see `trials.tasks.SceneRecipe`."""

    epochs: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=1)] = 16
    optimiser: Literal["adamw", "sgd"] = "adamw"
    peak_lr: Annotated[float, Field(gt=0)] = 6e-3
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    max_grad_norm: Annotated[float, Field(gt=0)] = 10.0
    augment: bool = False
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    frozen_trunk: bool = False
    recalibrate: bool = False

    @model_validator(mode="after")
    def _trunk_is_trained(self) -> SceneTraining:
        if self.frozen_trunk and self.regime != "inherit":
            raise ConfigError("frozen_trunk is for a trunk that was trained before: give regime inherit")
        if self.frozen_trunk and self.recalibrate:
            raise ConfigError("recalibrate takes the statistics of a frozen_trunk anew: drop one of them")
        return self

    def parent_recipe(self) -> SceneRecipe | None:
        """Of the parent, whose trunk is trained too."""
        if self.parent_epochs is None:
            return None
        return replace(self._recipe(self.parent_epochs, self.peak_lr), frozen_trunk=False)

    def _recipe(self, epochs: int, peak_lr: float) -> SceneRecipe:
        return SceneRecipe(**self.model_dump(exclude=_NO_RECIPE) | {"epochs": epochs, "peak_lr": peak_lr})


class FusionSection(Section):
    """[fusion]: how every operator is made."""

    norm: Literal["batch", "group", "layer"] = "batch"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(gt=0)] | None = None
    identity_init: bool = True


class LatencySection(Section):
    """[latency]: how latency is measured, and with `screen` whether in each trial, before it is trained.

    `auto`: where a latency budget or the objective latency_ms asks for it and no device profile tells it. Otherwise
    only that of the front is measured, when the search is over.
    """

    screen: Literal["auto"] | bool = "auto"
    batch_size: Annotated[int, Field(ge=1)] = 1
    warmup: Annotated[int, Field(ge=1)] = 20
    passes: Annotated[int, Field(ge=30)] = 200
    block: Annotated[int, Field(ge=1)] = 3
    max_drift: Annotated[float, Field(gt=0)] = 0.03
    max_spread: Annotated[float, Field(gt=0)] = 0.05
    attempts: Annotated[int, Field(ge=1)] = 3

    def protocol(self) -> LatencyProtocol:
        return LatencyProtocol(**self.model_dump(exclude={"screen"}))


class RaySection(Section):
    """[ray]: where Ray runs. Without an address, a runtime of its own on this machine."""

    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
