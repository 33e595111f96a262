"""The configuration of a search: TOML file and options, validated, with errors that say how to mend them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from nas.durations import parse_seconds
from search_spaces.errors import UserError
from trials.constraints import CONSTRAINED, Constraint
from trials.data.config import DataConfig, validate_name
from trials.trial import LatencyProtocol, Recipe


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used: one line that names where, what was given and what is allowed."""


#: Regimes under which all trials start from weights that are trained once.
SHARED = ("inherit", "supernet")
#: Times a trial's, where the parent's or supernet's epochs are not given.
_PARENT_EPOCHS = 4
#: Keys of [training] that are not the recipe of one training.
_NO_RECIPE = ("trial_timeout", "regime", "parent", "parent_epochs", "fine_tune_lr")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainingSection(_Section):
    """[training]: how every candidate is trained."""

    epochs: Annotated[int, Field(ge=1)] = 3
    batch_size: Annotated[int, Field(ge=8)] = 128
    peak_lr: Annotated[float, Field(gt=0)] = 0.2
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    fusion_lr_scale: Annotated[float, Field(gt=0)] = 1.0
    crop_padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True
    cutout: Annotated[int, Field(ge=0)] = 0
    colour: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
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
        if not isinstance(given, dict) or given.get("regime") not in SHARED or given.get("parent") is not None:
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

    def recipe(self) -> Recipe:
        """Of a trial. What starts from trained weights is fine-tuned at a quarter of the peak rate, unless said."""
        recipe = Recipe(**self.model_dump(exclude=set(_NO_RECIPE)))
        if self.regime not in SHARED:
            return recipe
        return replace(recipe, peak_lr=self.peak_lr / 4 if self.fine_tune_lr is None else self.fine_tune_lr)

    def parent_recipe(self) -> Recipe | None:
        """Of the parent or supernet; None where none is trained."""
        if self.parent_epochs is None:
            return None
        return replace(self.recipe(), epochs=self.parent_epochs, peak_lr=self.peak_lr)

    @property
    def timeout_seconds(self) -> float | None:
        """After how long a trial has failed; None for never."""
        return None if self.trial_timeout is None else parse_seconds(self.trial_timeout)


class FusionSection(_Section):
    """[fusion]: how every operator is made."""

    norm: Literal["batch", "group", "layer"] = "batch"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(gt=0)] | None = None
    identity_init: bool = True


class LatencySection(_Section):
    """[latency]: how latency is measured. Without `screen`, only that of the front is, when the search is over."""

    screen: bool = True
    batch_size: Annotated[int, Field(ge=1)] = 1
    warmup: Annotated[int, Field(ge=1)] = 20
    passes: Annotated[int, Field(ge=30)] = 200
    block: Annotated[int, Field(ge=1)] = 3
    max_drift: Annotated[float, Field(gt=0)] = 0.03
    max_spread: Annotated[float, Field(gt=0)] = 0.05
    attempts: Annotated[int, Field(ge=1)] = 3

    def protocol(self) -> LatencyProtocol:
        return LatencyProtocol(**self.model_dump(exclude={"screen"}))


class RaySection(_Section):
    """[ray]: where Ray runs. Without an address, a runtime of its own on this machine."""

    address: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None


#: Seeds that the noise of a search is measured with, and the trials from which on it is.
NOISE_SEEDS, RANKED_TRIALS = 3, 10

Objective = Literal["accuracy", "macs", "latency_ms", "params"]
Selector = Literal["best", "knee", "fastest", "cheapest", "none"]


class SearchConfig(_Section):
    """Everything a search is told. Keys not listed here are refused."""

    space: str = "resnet8"
    operators: list[str] = ["add", "concat", "se", "cbam", "aff", "iaff"]
    reductions: list[Annotated[int, Field(ge=1)]] = [4, 8, 16]
    points: list[str] = []
    tie: Literal["none", "stage"] = "none"
    data: str = "fashion-mnist-mini"
    data_dir: str | None = None
    image_size: Annotated[int, Field(ge=8)] | None = None
    train_images: Annotated[int, Field(ge=1)] | None = None
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    data_errors: Literal["refuse", "drop"] = "refuse"
    data_memory: Annotated[float, Field(gt=0, le=1)] = 0.5
    trials: Annotated[int, Field(ge=1)] = 20
    objectives: Annotated[list[Objective], Field(min_length=1)] = ["accuracy", "macs"]
    sampler: Literal["tpe", "random"] = "tpe"
    max_flops: str | None = None
    max_params: str | None = None
    max_latency: str | None = None
    latency_profile: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    noise_seeds: Annotated[int, Field(ge=1)] | None = None
    engine: Literal["ray", "local"] = "ray"
    workers: Annotated[int, Field(ge=1)] | None = None
    device: str = "auto"
    out: str = "runs/search"
    export: Selector = "knee"
    fusion: FusionSection = FusionSection()
    training: TrainingSection = TrainingSection()
    latency: LatencySection = LatencySection()
    ray: RaySection = RaySection()

    #: The file that the settings came from; not one of them.
    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        return self._source

    @field_validator("data")
    @classmethod
    def _known_data(cls, name: str) -> str:
        validate_name(name)
        return name

    @field_validator("max_flops", "max_params", "max_latency")
    @classmethod
    def _readable_budget(cls, text: str | None, info: Any) -> str | None:
        if text is not None:
            Constraint.parse(_METRIC_OF[info.field_name], text)
        return text

    @field_validator("objectives")
    @classmethod
    def _accuracy_among(cls, names: list[str]) -> list[str]:
        if "accuracy" not in names or len(set(names)) != len(names):
            raise ValueError("objectives must hold 'accuracy', and each name once")
        return names

    @model_validator(mode="after")
    def _workers_of_engine(self) -> SearchConfig:
        if self.engine == "local" and (self.workers or 1) != 1:
            raise ConfigError(f"workers is {self.workers}, but engine local runs one trial at a time: use ray")
        return self

    @model_validator(mode="after")
    def _latency_is_known(self) -> SearchConfig:
        if self.latency.screen or self.latency_profile is not None:
            return self
        wanting = "max_latency" if self.max_latency is not None else "objective latency_ms"
        if self.max_latency is not None or "latency_ms" in self.objectives:
            raise ConfigError(
                f"latency.screen is false, but {wanting} needs a latency: give a latency_profile, or screen"
            )
        return self

    def constraints(self) -> tuple[Constraint, ...]:
        texts = {metric: getattr(self, key) for key, metric in _METRIC_OF.items()}
        return tuple(Constraint.parse(metric, text) for metric, text in texts.items() if text is not None)

    def data_config(self) -> DataConfig:
        return DataConfig(
            self.data, self.data_dir, self.image_size, self.train_images, self.val_fraction, split_seed=0,
            drop_unreadable=self.data_errors == "drop",
        )  # fmt: skip

    @property
    def seeds_for_noise(self) -> int:
        """Under how many seeds the first architectures of a search are trained, to know its noise."""
        if self.noise_seeds is not None:
            return self.noise_seeds
        return NOISE_SEEDS if self.trials >= RANKED_TRIALS else 1

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


_METRIC_OF = {option.removeprefix("--").replace("-", "_"): metric for metric, (option, _) in CONSTRAINED.items()}
#: Where and how fast a search runs, and what is written at its end: not what it finds.
CIRCUMSTANCES = ("engine", "workers", "device", "out", "export", "ray", "data_dir", "data_memory", "noise_seeds")
#: May change in an extended run: recorded trials are priced anew, none is trained again.
EXTENSIBLE = (
    "trials", "max_flops", "max_params", "max_latency", "latency_profile", "objectives", "sampler",
    "training.trial_timeout",
)  # fmt: skip


def load_config(path: Path | None, overrides: Mapping[str, Any]) -> SearchConfig:
    """The file's settings, overridden by `overrides` (flat keys; `training.epochs` for a section's).

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value that is not allowed.
    """
    settings = {} if path is None else read_toml(path)
    for key, value in overrides.items():
        section, dot, name = key.rpartition(".")
        target = settings.setdefault(section, {}) if dot else settings
        if not isinstance(target, dict):
            raise ConfigError(f"{path}: {section} is {target!r}, expected a table [{section}]")
        target[name] = value
    try:
        config = SearchConfig.model_validate(settings)
        config._source = path
        return config
    except ValidationError as error:
        raise ConfigError(explain(error, path, overrides)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises ConfigError with the line of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a TOML configuration") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def explain(error: ValidationError, path: Path | None, overrides: Mapping[str, Any]) -> str:
    """The first problem pydantic found, in one line: where, key, what was given, what is allowed."""
    problem = error.errors()[0]
    if not problem["loc"]:
        return f"{path or 'configuration'}: {problem['ctx']['error']}"
    location = tuple(part for part in problem["loc"] if isinstance(part, str))
    key = ".".join(location)
    where = f"--{location[-1].replace('_', '-')}" if key in overrides else f"{path or 'configuration'}: {key}"
    if problem["type"] == "extra_forbidden":
        known = list(_fields(location[:-1]))
        nearest = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return f"{where}: unknown key, given {_shown(problem['input'])}; {hint}known keys are {', '.join(known)}"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return f"{where}: {cause}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    hint = _nearest_literal(problem)
    return f"{where}: given {_shown(problem['input'])}; {message[0].lower()}{message[1:]}{hint}"


def _nearest_literal(problem: Any) -> str:
    if problem["type"] != "literal_error":
        return ""
    allowed = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    nearest = difflib.get_close_matches(str(problem["input"]), allowed, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _fields(section: tuple[str, ...]) -> Iterator[str]:
    model: Any = SearchConfig
    for name in section:
        model = model.model_fields[name].annotation
    yield from model.model_fields


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`{key: (recorded, given)}` of all settings that decide what a search finds, sections flattened.

    What an older version did not record yet was as it is by default now.
    """
    defaults = _flat(SearchConfig().to_json())
    before, after = defaults | _flat(old), defaults | _flat(new)
    keys = [key for key in {**before, **after} if key.split(".")[0] not in CIRCUMSTANCES]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat
