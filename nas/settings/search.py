"""The configuration of a search: every setting once, and what must hold among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from nas.registry import ENGINES, HEED_PRIORS, LOGS, PROPOSERS
from nas.settings.effort import TRIALS
from nas.settings.errors import ConfigError
from nas.settings.looks import LookSettings
from nas.settings.places import absolute_data, absolute_space
from nas.settings.sections import FusionSection, ImageTraining, LatencySection, RaySection
from nas.settings.setting import Group, Role, Setting
from nas.settings.values import nearest, read_weights
from search_spaces.architecture import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS
from search_spaces.references import absolute
from trials.budgets.constraints import CONSTRAINED, Constraint
from trials.data.config import DataConfig, SceneConfig, validate_name
from trials.tasks.metrics import FIGURES, Task

#: The share of the images that finalists are judged by where the data keep none for that.
TEST_FRACTION = 0.2

COSTS = ("macs", "latency_ms", "params")
#: The setting of each budget.
_METRIC_OF = {option.removeprefix("--").replace("-", "_"): metric for metric, (option, _) in CONSTRAINED.items()}
if TYPE_CHECKING:
    EngineName: TypeAlias = str
    ProposerName: TypeAlias = str
    LogName: TypeAlias = str
else:
    EngineName, ProposerName, LogName = Literal[*ENGINES], Literal[*PROPOSERS], Literal[*LOGS]
Selector = Literal["verdict", "best", "knee", "fastest", "cheapest", "none"]


class SearchConfig(LookSettings):
    """Everything a search of classifiers is told. Keys not listed here are refused."""

    _tasks: ClassVar[tuple[Task, ...]] = ("classification",)

    task: Annotated[
        Task,
        Setting("{choices}.", option="--task", metavar="NAME", group=Group.SPACE,
                default="that of the space or the data"),
    ] = "classification"  # fmt: skip
    space: Annotated[
        str,
        Setting("A named space, see nas spaces, FILE.py:DESIGN or torchvision:NAME.", Role.PLACE, option="--space",
                metavar="NAME", group=Group.SPACE, page="network.md"),
    ] = "resnet8"  # fmt: skip
    operators: Annotated[
        list[str],
        Setting("Offer only these fusion operators; add must be among them.", option="--operators",
                metavar="A,B,…", group=Group.SPACE),
    ] = list(DEFAULT_OPERATORS)  # fmt: skip
    reductions: Annotated[
        list[Annotated[int, Field(ge=1)]],
        Setting("Offer only these reduction ratios.", option="--reductions", metavar="R,R,…", group=Group.SPACE),
    ] = list(DEFAULT_REDUCTIONS)  # fmt: skip
    points: Annotated[
        list[str],
        Setting("Vary only these fusion points or stages (layer3,layer4); the others stay add.", option="--points",
                metavar="P,P,…", group=Group.SPACE, default="all"),
    ] = []  # fmt: skip
    tie: Annotated[
        Literal["none", "stage"],
        Setting("stage: one common choice for the points of a stage.", option="--tie", metavar="HOW",
                group=Group.SPACE),
    ] = "none"  # fmt: skip
    data: Annotated[
        str,
        Setting("fashion-mnist-mini, fashion-mnist, cifar10, cifar100 or folder:PATH; of scenes scenes-mini, "
                "coco:PATH, voc:PATH or masks:PATH.", Role.PLACE, option="--data", metavar="NAME", group=Group.DATA,
                page="data.md"),
    ] = DataConfig.name  # fmt: skip
    data_dir: Annotated[
        str | None,
        Setting("Where datasets are looked for, and put when downloaded.", Role.CIRCUMSTANCE, option="--data-dir",
                metavar="DIR", group=Group.DATA, default="~/.cache/fusion-nas/data"),
    ] = None  # fmt: skip
    image_size: Annotated[
        int | None, Field(ge=8),
        Setting("Resize images of a folder to this square, scenes to its inside.", option="--image-size",
                metavar="PIXELS", group=Group.DATA, default="as they are; scenes 128, 256 of a folder"),
    ] = None  # fmt: skip
    train_images: Annotated[
        int | None, Field(ge=1),
        Setting("Train on a subset of N images, class-balanced where they have classes.", option="--train-images",
                metavar="N", group=Group.DATA, default="all"),
    ] = None  # fmt: skip
    val_fraction: Annotated[
        float, Field(gt=0, lt=1),
        Setting("Share of the training images that validates, where there is no validation split."),
    ] = DataConfig.val_fraction  # fmt: skip
    test_fraction: Annotated[
        float | None, Field(ge=0, lt=1),
        Setting("Share of the training images that only finalists are judged by, where there is no test split.",
                default=f"{TEST_FRACTION}, and 0 where a run begins without finalists", page="finalists.md"),
    ] = None  # fmt: skip
    data_errors: Annotated[
        Literal["refuse", "drop"],
        Setting("refuse or drop (and count) bad images and annotations.", option="--data-errors", metavar="HOW",
                group=Group.DATA),
    ] = "refuse"  # fmt: skip
    data_memory: Annotated[
        float, Field(gt=0, le=1),
        Setting("Share of a GPU's memory that images may take; more go there batch by batch.", Role.CIRCUMSTANCE),
    ] = 0.5  # fmt: skip
    sampler: Annotated[
        ProposerName,
        Setting("What proposes architectures: {choices}.", Role.EXTEND, option="--sampler", metavar="NAME"),
    ] = "ehvi"  # fmt: skip
    prior: Annotated[
        str | None,
        Setting("Operators that you believe in, cbam=3,aff (2 unless said): ehvi looks at them sooner, until trials "
                "say better.", Role.EXTEND, option="--prior", metavar="OP=W,…"),
    ] = None  # fmt: skip
    from_runs: Annotated[
        list[str],
        Setting("Count what these runs trained as evidence, as far as their ranks are this one's; may be repeated.",
                Role.EXTEND, option="--from", metavar="RUN", page="estimates.md#from-other-runs", repeated=True),
    ] = []  # fmt: skip
    seed: Annotated[
        int, Field(ge=0, lt=2**63), Setting("Seed of everything random.", option="--seed", metavar="S")
    ] = 0  # fmt: skip
    objectives: Annotated[
        list[str], Field(min_length=1),
        Setting("accuracy, ap or miou, and any of macs, latency_ms, params or other figures of the task.", Role.EXTEND,
                option="--objectives", metavar="A,B,…", group=Group.ASKED, default="the first and macs"),
    ] = ["accuracy", "macs"]  # fmt: skip
    minimum: Annotated[
        dict[str, Annotated[float, Field(gt=0, le=1)]],
        Setting("Of figures of quality, the least: accuracy=0.9, or ap=0.2,ap_small=0.1.", Role.EXTEND, option="--min",
                metavar="F=V,…", group=Group.ASKED),
    ] = {}  # fmt: skip
    max_flops: Annotated[
        str | None,
        Setting("Multiply-adds: 40M, 1.2G, or 1.5x of the all-add baseline.", Role.EXTEND, option="--max-flops",
                metavar="BUDGET", group=Group.ASKED),
    ] = None  # fmt: skip
    max_params: Annotated[
        str | None,
        Setting("Parameters: 0.5M, or 1.1x.", Role.EXTEND, option="--max-params", metavar="BUDGET", group=Group.ASKED),
    ] = None  # fmt: skip
    max_latency: Annotated[
        str | None,
        Setting("p50 latency: 3ms, or 1.05x.", Role.EXTEND, option="--max-latency", metavar="BUDGET",
                group=Group.ASKED),
    ] = None  # fmt: skip
    latency_profile: Annotated[
        str | None,
        Setting("Latency is that of the device that nas latency profile measured.", Role.EXTEND,
                option="--latency-profile", metavar="FILE", group=Group.ASKED,
                page="budgets.md#search-for-a-device-that-is-not-here"),
    ] = None  # fmt: skip
    engine: Annotated[
        EngineName,
        Setting("What runs trials: {choices}; ray runs them side by side, local in this process.",
                Role.CIRCUMSTANCE, option="--engine", metavar="NAME", group=Group.PLACE),
    ] = "ray"  # fmt: skip
    workers: Annotated[
        int | None, Field(ge=1),
        Setting("Trials side by side.", Role.CIRCUMSTANCE, option="--workers", metavar="W", group=Group.PLACE,
                default="as many as fit"),
    ] = None  # fmt: skip
    device: Annotated[
        str,
        Setting("auto, cpu, cuda or cuda:N.", Role.CIRCUMSTANCE, option="--device", metavar="DEVICE",
                group=Group.PLACE),
    ] = "auto"  # fmt: skip
    out: Annotated[
        str, Setting("The run's folder.", Role.CIRCUMSTANCE, option="--out", metavar="DIR")
    ] = "runs/search"  # fmt: skip
    export: Annotated[
        Selector,
        Setting("Export {choices} at the end; verdict: the finalist that beats all-add, else the knee.",
                Role.CIRCUMSTANCE, option="--export", metavar="SELECTOR"),
    ] = "verdict"  # fmt: skip
    storage: Annotated[
        str | None,
        Setting("Copy kept weights there, and get them back on a new disk: a folder, or an address such as "
                "s3://BUCKET/DIR.", Role.CIRCUMSTANCE, option="--storage", metavar="PATH", group=Group.PLACE,
                default="the run's folder alone", page="cluster.md#what-is-lost-when-something-goes"),
    ] = None  # fmt: skip
    backup: Annotated[
        str | None,
        Setting("Copy the record, and what trials start from, there, now and then and at the end: a folder, or an "
                "address such as s3://BUCKET/DIR.", Role.CIRCUMSTANCE, option="--backup", metavar="PATH",
                group=Group.PLACE, default="no copies", page="recovering.md#copies"),
    ] = None  # fmt: skip
    backup_minutes: Annotated[
        float, Field(gt=0), Setting("Minutes between two copies of the record.", Role.CIRCUMSTANCE)
    ] = 5.0  # fmt: skip
    log: Annotated[
        list[LogName],
        Setting("Write each trial down as other tools read it, in the run's log/: csv, tensorboard, mlflow.",
                Role.CIRCUMSTANCE, option="--log", metavar="A,B,…", group=Group.PLACE, page="report.md#in-other-tools"),
    ] = []  # fmt: skip
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

    @field_validator("space")
    @classmethod
    def _located_space(cls, name: str) -> str:
        return absolute_space(name)

    @field_validator("data")
    @classmethod
    def _located_data(cls, name: str) -> str:
        return absolute_data(name)

    @field_validator("data_dir", "latency_profile")
    @classmethod
    def _located(cls, path: str | None) -> str | None:
        return None if path is None else absolute(path)

    @field_validator("storage", "backup")
    @classmethod
    def _located_copies(cls, place: str | None) -> str | None:
        if place is not None and not place.strip():
            raise ValueError("give a folder or an address")
        return place if place is None or "://" in place else absolute(place)

    @field_validator("from_runs")
    @classmethod
    def _located_runs(cls, paths: list[str]) -> list[str]:
        if "" in (path.strip() for path in paths):
            raise ValueError("give the folder of a run")
        return [absolute(path) for path in paths]

    @field_validator("max_flops", "max_params", "max_latency")
    @classmethod
    def _readable_budget(cls, text: str | None, info: Any) -> str | None:
        if text is not None:
            Constraint.parse(_METRIC_OF[info.field_name], text)
        return text

    @field_validator("prior")
    @classmethod
    def _readable_prior(cls, text: str | None, info: ValidationInfo) -> str | None:
        offered = info.data.get("operators", DEFAULT_OPERATORS)
        for name in read_weights(text or ""):
            if name not in offered:
                raise ValueError(f"{name!r} is none of the operators {', '.join(offered)}{nearest(name, offered)}")
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
                raise ValueError(f"{name!r} is none of {', '.join(allowed)}{nearest(name, allowed)}")
        if info.field_name == "objectives" and (figures[0] not in names or len(set(names)) != len(names)):
            raise ValueError(f"objectives must hold {figures[0]!r}, and each name once")
        return names

    @model_validator(mode="after")
    def _first_rung_is_a_trial(self) -> SearchConfig:
        if self.rung_epochs[0] != self.training.epochs:
            first = f"rungs begins with {self.rung_epochs[0]} epochs, but training.epochs is {self.training.epochs}"
            raise ConfigError(f"{first}: give one of them")
        return self

    @model_validator(mode="after")
    def _workers_of_engine(self) -> SearchConfig:
        if self.engine == "local" and (self.workers or 1) != 1:
            raise ConfigError(f"workers is {self.workers}, but engine local runs one trial at a time: use ray")
        return self

    @model_validator(mode="after")
    def _prior_is_heeded(self) -> SearchConfig:
        if self.beliefs and self.sampler not in HEED_PRIORS:
            heeding = " or ".join(HEED_PRIORS)
            raise ConfigError(f"prior is {self.prior}, but sampler {self.sampler} heeds none: use {heeding}")
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
    def beliefs(self) -> dict[str, float]:
        """The weights of operators that the user believes in."""
        return read_weights(self.prior or "")

    @property
    def elsewhere(self) -> bool:
        """Whether trials run on a cluster, of whose devices this machine cannot tell."""
        return self.engine == "ray" and self.ray.address is not None

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
            drop_unreadable=self.data_errors == "drop", test_fraction=self.kept_for_test,
        )  # fmt: skip

    @property
    def rung_epochs(self) -> tuple[int, ...]:
        """Epochs of each complete schedule that trials may be trained by, growing; the last is what is estimated."""
        return (self.training.epochs,) if self.rungs == "none" else tuple(self.rungs)

    @property
    def seeds_of_finalists(self) -> tuple[int, ...]:
        """Those that they may be trained under, in their order: others than the trials' and, of these, none at all of
        the images that they are judged by. The first `finalist_seeds` are trained in any case."""
        most = 2 * self.finalist_seeds if self.finalist_max_seeds is None else self.finalist_max_seeds
        return tuple((self.seed + 1 + k) % 2**63 for k in range(most))

    @property
    def kept_for_test(self) -> float:
        """The share of the training images that becomes the test split of data that have none."""
        if self.test_fraction is not None:
            return self.test_fraction
        return TEST_FRACTION if self.wanted_finalists else 0.0

    def begun_with(self, recorded: Mapping[str, Any] | None) -> SearchConfig:
        """The same with what was not said settled, the share that is kept for the test split and the number of trials:
        what a run began with it goes on with."""
        begun: dict[str, Any] = {}
        if self.test_fraction is None:
            begun["test_fraction"] = self.kept_for_test if recorded is None else recorded.get("test_fraction")
        if self.trials is None:
            unlimited = None if self.timed or self.max_trials is not None else TRIALS
            begun["trials"] = unlimited if recorded is None else recorded.get("trials")
        settled = self.model_copy(update=begun)
        settled._source = self._source
        return settled

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
