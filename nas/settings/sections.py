"""The sections of a configuration: how candidates are trained and measured, how operators are made, where Ray runs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nas.settings.errors import ConfigError
from nas.settings.setting import Group, Role, Setting
from search_spaces.references import absolute
from trials.durations import read_seconds
from trials.tasks.recipe import SceneRecipe
from trials.trial import LatencyProtocol, Precision, Recipe

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

    epochs: Annotated[
        int, Field(ge=1),
        Setting("Epochs a trial, a complete schedule.", option="--epochs", metavar="E", group=Group.TRAINING),
    ] = Recipe.epochs  # fmt: skip
    regime: Annotated[
        Literal["scratch", "inherit", "supernet"],
        Setting("What trials start from: {choices}.", option="--regime", metavar="NAME", group=Group.TRAINING,
                page="trust.md#what-a-trial-starts-from"),
    ] = "scratch"  # fmt: skip
    parent: Annotated[
        str | None,
        Setting("Under inherit: your own weights of the network, .safetensors or .pt.", Role.PLACE, option="--parent",
                metavar="FILE", group=Group.TRAINING),
    ] = None  # fmt: skip
    parent_epochs: Annotated[
        int | None, Field(ge=1),
        Setting("Epochs of the parent or supernet.", option="--parent-epochs", metavar="E", group=Group.TRAINING,
                default=f"{_PARENT_EPOCHS} times a trial's"),
    ] = None  # fmt: skip
    batch_size: Annotated[
        int, Field(ge=1),
        Setting("Images a training step.", option="--batch-size", metavar="B", group=Group.TRAINING),
    ] = Recipe.batch_size  # fmt: skip
    precision: Annotated[
        Precision,
        Setting("Train in float32, bfloat16 or the fastest, which is measured.", option="--precision",
                metavar="NAME", group=Group.TRAINING),
    ] = Recipe.precision  # fmt: skip
    trial_timeout: Annotated[
        str | None,
        Setting("End a trial that takes longer, as failed: 90s, 10min, 2h.", Role.EXTEND, option="--trial-timeout",
                metavar="TIME", group=Group.TRAINING, default="never"),
    ] = None  # fmt: skip
    peak_lr: Annotated[float, Field(gt=0), Setting("The one-cycle schedule's highest rate.")] = Recipe.peak_lr
    fine_tune_lr: Annotated[
        float | None, Field(gt=0),
        Setting("The highest rate of what starts from trained weights.", default="a quarter of peak_lr"),
    ] = None  # fmt: skip
    warmup_fraction: Annotated[
        float, Field(gt=0, lt=1), Setting("Share of the steps in which the rate rises.")
    ] = Recipe.warmup_fraction  # fmt: skip
    momentum: Annotated[float, Field(gt=0, lt=1), Setting("Of SGD, Nesterov's.")] = Recipe.momentum
    weight_decay: Annotated[
        float, Field(ge=0), Setting("Of everything but norms and biases.")
    ] = Recipe.weight_decay  # fmt: skip
    fusion_lr_scale: Annotated[
        float, Field(gt=0), Setting("The fusions' rate in multiples of the others'.")
    ] = Recipe.fusion_lr_scale  # fmt: skip
    recalibrate: Annotated[
        bool, Setting("Batch norms' statistics are taken anew before evaluation.")
    ] = Recipe.recalibrate  # fmt: skip
    optimiser: Annotated[Literal["adamw", "sgd"], Setting("What makes the steps: {choices}.")] = Recipe.optimiser
    max_grad_norm: Annotated[
        float | None, Field(gt=0), Setting("Longer gradients are cut to this length.")
    ] = Recipe.max_grad_norm  # fmt: skip
    ema_decay: Annotated[
        float | None, Field(gt=0, lt=1),
        Setting("Judge the moving average of the weights, which keeps this share of itself each step."),
    ] = Recipe.ema_decay  # fmt: skip

    @field_validator("trial_timeout")
    @classmethod
    def _readable_time(cls, text: str | None) -> str | None:
        if text is not None:
            read_seconds(text)
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

    @field_validator("parent")
    @classmethod
    def _located_parent(cls, path: str | None) -> str | None:
        return None if path is None else absolute(path)

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
        return None if self.trial_timeout is None else read_seconds(self.trial_timeout)


class ImageTraining(TrainingSection):
    """[training] of classifiers.

    Their regime: on CIFAR-10 short trials from scratch ranked 24 architectures as full trainings do with a Kendall τ of
    0.10, inherited ones with 0.51; on the embedded images the intervals of 16 overlap (benchmarks/results).
    """

    regime: Literal["scratch", "inherit", "supernet"] = "inherit"
    batch_size: Annotated[int, Field(ge=8)] = Recipe.batch_size
    label_smoothing: Annotated[
        float, Field(ge=0, lt=1), Setting("Classifiers: the share of a target that goes to the other classes.")
    ] = Recipe.label_smoothing  # fmt: skip
    crop_padding: Annotated[
        int, Field(ge=0), Setting("Classifiers: images are moved by up to so many pixels.")
    ] = Recipe.crop_padding  # fmt: skip
    flip: Annotated[bool, Setting("Classifiers: half of the images are mirrored.")] = Recipe.flip
    cutout: Annotated[
        int, Field(ge=0), Setting("Classifiers: side of a square in pixels that is left out, 0 for none.")
    ] = Recipe.cutout  # fmt: skip
    colour: Annotated[
        float, Field(ge=0, le=1), Setting("Classifiers: how far colours are varied, 0 to 1.")
    ] = Recipe.colour  # fmt: skip
    mixup: Annotated[float, Field(ge=0), Setting("Classifiers: α of the mixtures of two images, 0 for none.")] = (
        Recipe.mixup
    )
    cuda_graph: Annotated[
        bool, Setting("Classifiers: the step from a CUDA graph.", page="cluster.md#on-a-gpu")
    ] = Recipe.cuda_graph  # fmt: skip

    def _recipe(self, epochs: int, peak_lr: float) -> Recipe:
        return Recipe(**self.model_dump(exclude=_NO_RECIPE) | {"epochs": epochs, "peak_lr": peak_lr})


class SceneTraining(TrainingSection):
    """[training] of detectors and segmenters, see `trials.tasks.SceneRecipe`."""

    epochs: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=1)] = SceneRecipe.batch_size
    optimiser: Literal["adamw", "sgd"] = SceneRecipe.optimiser
    peak_lr: Annotated[float, Field(gt=0)] = SceneRecipe.peak_lr
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = SceneRecipe.warmup_fraction
    weight_decay: Annotated[float, Field(ge=0)] = SceneRecipe.weight_decay
    recalibrate: bool = SceneRecipe.recalibrate
    max_grad_norm: Annotated[float | None, Field(gt=0)] = SceneRecipe.max_grad_norm
    augment: Annotated[
        bool, Setting("Scenes: flips, scales, crops and colours of images and targets together.")
    ] = SceneRecipe.augment  # fmt: skip
    frozen_trunk: Annotated[
        bool, Setting("Scenes, under inherit: the trunk keeps its weights while its fusions learn.")
    ] = SceneRecipe.frozen_trunk  # fmt: skip

    @model_validator(mode="after")
    def _trunk_is_trained(self) -> SceneTraining:
        if self.frozen_trunk and self.regime != "inherit":
            raise ConfigError("frozen_trunk is for a trunk that was trained before: give regime inherit")
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

    norm: Annotated[Literal["batch", "group", "layer"], Setting("The norm of all operators: {choices}.")] = "batch"
    dropout: Annotated[
        float, Field(ge=0, lt=1), Setting("Share of the values inside the attention parts that training drops.")
    ] = 0.0  # fmt: skip
    scale: Annotated[
        float | None, Field(gt=0),
        Setting("What an operator's coefficients sum to; 1 is the published form.", default="the number of maps"),
    ] = None  # fmt: skip
    identity_init: Annotated[bool, Setting("Start as exactly the sum of the maps.")] = True


class LatencySection(Section):
    """[latency]: how latency is measured, and with `screen` whether in each trial, before it is trained.

    `auto`: where a latency budget or the objective latency_ms asks for it and no device profile tells it. Otherwise
    only that of the front is measured, when the search is over.
    """

    screen: Annotated[
        Literal["auto"] | bool,
        Setting(
            "Measure the latency of every trial: true, false (only the front's, at the end), or auto: where a budget "
            "or an objective asks for it.", Role.CIRCUMSTANCE,
        ),
    ] = "auto"  # fmt: skip
    batch_size: Annotated[int, Field(ge=1), Setting("Images a pass.", group=Group.LATENCY)] = LatencyProtocol.batch_size
    warmup: Annotated[int, Field(ge=1), Setting("Passes before any is timed.")] = LatencyProtocol.warmup
    passes: Annotated[
        int, Field(ge=30), Setting("Passes of each network, at most 2 s.", group=Group.LATENCY)
    ] = LatencyProtocol.passes  # fmt: skip
    block: Annotated[
        int, Field(ge=1), Setting("Passes of one network before the other's turn.")
    ] = LatencyProtocol.block  # fmt: skip
    max_drift: Annotated[
        float, Field(gt=0), Setting("Drift above which a measurement is repeated.")
    ] = LatencyProtocol.max_drift  # fmt: skip
    max_spread: Annotated[
        float, Field(gt=0), Setting("IQR / median above which a measurement is repeated.")
    ] = LatencyProtocol.max_spread  # fmt: skip
    attempts: Annotated[
        int, Field(ge=1),
        Setting("Attempts at a measurement that drifts or scatters; then it is marked ~.", group=Group.LATENCY),
    ] = LatencyProtocol.attempts  # fmt: skip

    def protocol(self) -> LatencyProtocol:
        return LatencyProtocol(**self.model_dump(exclude={"screen"}))

    @field_validator("screen", mode="before")
    @classmethod
    def _screen_in_words(cls, given: Any) -> Any:
        """As a command line has it, too."""
        found = {"true": True, "false": False}.get(given, given) if isinstance(given, str) else given
        if found not in (True, False, "auto"):
            raise ValueError("it should be auto, true or false")
        return found


#: Why no search is driven through Ray's client, and what to do.
NO_CLIENT = (
    "it should be auto or HOST:PORT: a search's driver runs on the cluster: submit it there (ray job submit -- nas "
    "search … --address auto), or start it on the head node"
)


class RaySection(Section):
    """[ray]: where Ray runs. Without an address, a runtime of its own on this machine."""

    address: Annotated[
        str | None,
        Setting("An existing Ray cluster: auto, or HOST:PORT of its head.", Role.CIRCUMSTANCE, option="--address",
                metavar="ADDRESS", group=Group.PLACE, default="a runtime of its own", page="cluster.md"),
    ] = None  # fmt: skip
    cpus_per_trial: Annotated[float, Field(gt=0), Setting("Cores of a trial.", Role.CIRCUMSTANCE)] = 1.0
    gpus_per_trial: Annotated[
        float | None, Field(ge=0),
        Setting("GPUs of a trial; 0.25 puts four on one card.", Role.CIRCUMSTANCE, option="--gpus-per-trial",
                metavar="G", group=Group.PLACE, default="1 where there are any"),
    ] = None  # fmt: skip
    ship_data: Annotated[
        bool,
        Setting("Nodes get the decoded data from the driver, once each, and need none of their own.", Role.CIRCUMSTANCE,
                option="--ship-data", metavar="BOOL", group=Group.PLACE, page="cluster.md#data"),
    ] = False  # fmt: skip

    @field_validator("address")
    @classmethod
    def _on_the_cluster(cls, given: str | None) -> str | None:
        if given is not None and given.startswith("ray://"):
            raise ValueError(NO_CLIENT)
        return given
