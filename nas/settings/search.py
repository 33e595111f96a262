"""The configuration of a search: TOML file and options, validated, with errors that say how to mend them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from nas.settings.sections import (
    ConfigError,
    FusionSection,
    ImageTraining,
    LatencySection,
    RaySection,
    SceneTraining,
    Section,
)
from search_spaces.errors import UserError
from trials.budgets.constraints import CONSTRAINED, Constraint
from trials.data.config import DataConfig, validate_name
from trials.scenes.config import MINI, SceneConfig, validate_scenes_name
from trials.tasks.metrics import FIGURES, TASKS, Task, leading

#: Seeds that the noise of a search is measured with, and the trials from which on it is.
NOISE_SEEDS, RANKED_TRIALS = 3, 10

COSTS = ("macs", "latency_ms", "params")
#: The head that a pyramid gets for a task, and those that are of one.
_HEAD_OF: dict[Task, str] = {"detection": "fcos", "segmentation": "semantic"}
_TASK_OF: dict[str, Task] = {"fcos": "detection", "retinanet": "detection", "semantic": "segmentation"}
Selector = Literal["best", "knee", "fastest", "cheapest", "none"]


class SearchConfig(Section):
    """Everything a search of classifiers is told. Keys not listed here are refused."""

    _tasks: ClassVar[tuple[Task, ...]] = ("classification",)

    task: Task = "classification"
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
    objectives: Annotated[list[str], Field(min_length=1)] = ["accuracy", "macs"]
    minimum: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}
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
    training: ImageTraining = ImageTraining()
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

    @field_validator("task")
    @classmethod
    def _of_this_kind(cls, task: Task) -> Task:
        if task not in cls._tasks:
            raise ValueError(f"{cls.__name__} is for {' or '.join(cls._tasks)}")
        return task

    @field_validator("objectives", "minimum")
    @classmethod
    def _known_figures(cls, names: Any, info: ValidationInfo) -> Any:
        figures = FIGURES[info.data.get("task", cls._tasks[0])]
        allowed = (*figures, *COSTS) if info.field_name == "objectives" else figures
        for name in names:
            if name not in allowed:
                nearest = difflib.get_close_matches(name, allowed, n=1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise ValueError(f"{name!r} is none of {', '.join(allowed)}{hint}")
        if info.field_name == "objectives" and (figures[0] not in names or len(set(names)) != len(names)):
            raise ValueError(f"objectives must hold {figures[0]!r}, and each name once")
        return names

    @model_validator(mode="after")
    def _workers_of_engine(self) -> SearchConfig:
        if self.engine == "local" and (self.workers or 1) != 1:
            raise ConfigError(f"workers is {self.workers}, but engine local runs one trial at a time: use ray")
        return self

    @model_validator(mode="after")
    def _latency_is_known(self) -> SearchConfig:
        if self.latency.screen is False and self.latency_profile is None and self.asks_for_latency:
            wanting = "max_latency" if self.max_latency is not None else "objective latency_ms"
            raise ConfigError(
                f"latency.screen is false, but {wanting} needs a latency: give a latency_profile, or screen"
            )
        return self

    @property
    def asks_for_latency(self) -> bool:
        """Whether a budget or an objective is a latency."""
        return self.max_latency is not None or "latency_ms" in self.objectives

    @property
    def screens_latency(self) -> bool:
        """Whether each trial's latency is measured before it is trained."""
        if self.latency_profile is not None:
            return False
        return self.asks_for_latency if self.latency.screen == "auto" else self.latency.screen

    def constraints(self) -> tuple[Constraint, ...]:
        texts = {metric: getattr(self, key) for key, metric in _METRIC_OF.items()}
        budgets = [Constraint.parse(metric, text) for metric, text in texts.items() if text is not None]
        return (*budgets, *(Constraint(figure, least, at_least=True) for figure, least in self.minimum.items()))

    def data_config(self) -> DataConfig | SceneConfig:
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


class SceneSearchConfig(SearchConfig):
    """Everything a search of detectors or segmenters is told: networks with a head over a pyramid, data of scenes."""

    _tasks: ClassVar[tuple[Task, ...]] = ("detection", "segmentation")

    task: Task = "detection"
    space: str = "resnet8-fpn-fcos"
    data: str = MINI
    empty_images: Literal["keep", "refuse", "drop"] = "keep"
    objectives: Annotated[list[str], Field(min_length=1)] = ["ap", "macs"]
    training: SceneTraining = SceneTraining()  # type: ignore[assignment]  # another section, by purpose

    @model_validator(mode="before")
    @classmethod
    def _settle_by_task(cls, given: Any) -> Any:
        """A pyramid without a head gets that of the task, which also decides what is maximised."""
        task = given.get("task", "detection")
        if task not in cls._tasks:
            return given
        space, objectives = given.get("space", "resnet8-fpn"), given.get("objectives", [leading(task), "macs"])
        if isinstance(space, str):
            if ":" in space:
                raise ConfigError(f"space {space}: {task} takes a named pyramid, such as resnet8-fpn, see nas spaces")
            head = space.rpartition("-")[2]
            if _TASK_OF.get(head, task) != task:
                raise ConfigError(f"space {space} is for {_TASK_OF[head]}, but the task is {task}: give another head")
            space = space if head in _TASK_OF else f"{space}-{_HEAD_OF[task]}"
        return {**given, "space": space, "objectives": objectives}

    @field_validator("data")
    @classmethod
    def _known_data(cls, name: str) -> str:
        validate_scenes_name(name)
        return name

    @field_validator("data_dir")
    @classmethod
    def _no_published_data(cls, folder: str | None) -> str | None:
        if folder is not None:
            raise ValueError("it is where published sets of images are; scenes are named with their folder")
        return folder

    def data_config(self) -> SceneConfig:
        return SceneConfig(
            self.data, "boxes" if self.task == "detection" else "semantic", self.image_size, self.data_errors,
            self.empty_images, self.train_images, self.val_fraction,
        )  # fmt: skip


def config_kind(settings: Mapping[str, Any]) -> type[SearchConfig]:
    """The configuration that settings are of, by their task; where they name none, by the space's head or the data."""
    return SearchConfig if task_of(settings) == "classification" else SceneSearchConfig


def task_of(settings: Mapping[str, Any]) -> str:
    """The task that settings name, or that of what else they name."""
    if "task" in settings:
        return str(settings["task"])
    head, data = str(settings.get("space", "")).rpartition("-")[2], str(settings.get("data", ""))
    if head in _TASK_OF:
        return _TASK_OF[head]
    form = data.partition(":")[0]
    return {MINI: "detection", "coco": "detection", "voc": "detection", "masks": "segmentation"}.get(
        form, "classification"
    )


def read_config(settings: Mapping[str, Any]) -> SearchConfig:
    """A recorded configuration. Raises pydantic.ValidationError."""
    return config_kind(settings).model_validate(settings)


_METRIC_OF = {option.removeprefix("--").replace("-", "_"): metric for metric, (option, _) in CONSTRAINED.items()}
#: Where and how fast a search runs, and what is written at its end: not what it finds.
CIRCUMSTANCES = (
    "engine", "workers", "device", "out", "export", "ray", "data_dir", "data_memory", "noise_seeds", "latency.screen",
)  # fmt: skip
#: May change in an extended run: recorded trials are priced anew, none is trained again.
EXTENSIBLE = (
    "trials", "max_flops", "max_params", "max_latency", "minimum", "latency_profile", "objectives", "sampler",
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
        if settings.get("task", TASKS[0]) not in TASKS:
            SearchConfig.model_validate(settings)  # whose error names the tasks
        config = config_kind(settings).model_validate({**settings, "task": task_of(settings)})
        config._source = path
        return config
    except ValidationError as error:
        raise ConfigError(explain(error, config_kind(settings), path, overrides)) from None


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


def explain(error: ValidationError, kind: type[SearchConfig], path: Path | None, overrides: Mapping[str, Any]) -> str:
    """The first problem pydantic found, in one line: where, key, what was given, what is allowed."""
    problem = error.errors()[0]
    if not problem["loc"]:
        return f"{path or 'configuration'}: {problem['ctx']['error']}"
    location = tuple(part for part in problem["loc"] if isinstance(part, str))
    key = ".".join(location)
    where = f"--{location[-1].replace('_', '-')}" if key in overrides else f"{path or 'configuration'}: {key}"
    if problem["type"] == "extra_forbidden":
        known = list(_fields(kind, location[:-1]))
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


def _fields(kind: type[SearchConfig], section: tuple[str, ...]) -> Iterator[str]:
    model: Any = kind
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
    defaults = _flat(config_kind(new)().to_json())
    before, after = defaults | _flat(old), defaults | _flat(new)
    keys = [key for key in {**before, **after} if not {key, key.split(".")[0]} & set(CIRCUMSTANCES)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and key != "minimum":
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat
