"""What a trial is asked (`TrialJob`) and what it answers (`TrialResult`): frozen, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from search_spaces.architecture import Architecture

if TYPE_CHECKING:
    from trials.readings import Images

#: What a training multiplies in: float32, or bfloat16 (its weights stay float32). `fastest` is measured before a
#: run's first trial; so is `auto` on a GPU, where no two runs are the same to the bit anyway. Unless that was done,
#: both are bfloat16 where the device has it in hardware.
Precision = Literal["auto", "fastest", "float32", "bfloat16"]


class TrialState(StrEnum):
    """How a trial ended. Values are appended, never renamed or removed."""

    COMPLETE = "complete"
    FAILED = "failed"
    GATED = "gated"  # infeasible: told to the sampler, never trained
    STOPPED = "stopped"  # interrupted with the search: run again when it is resumed


class Failure(StrEnum):
    """Why a trial failed. Values are appended, never renamed or removed."""

    DIVERGED = "diverged"  # the loss is NaN or infinite
    EXPLODING_GRADIENTS = "exploding_gradients"  # of a finite loss, far above what any training survives
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    WORKER_LOST = "worker_lost"
    ERROR = "error"  # what the candidate's own code raised
    CRASHED = "crashed"  # it ended its worker, more than once


@dataclass(frozen=True)
class TrainingRecipe:
    """How every candidate is trained, whatever the task: one complete one-cycle schedule, in which the rate rises to
    `peak_lr`, then is annealed to zero. Each task has defaults of its own.

    optimiser: "sgd" with Nesterov momentum, or "adamw".
    warmup_fraction: share of the steps in which the rate rises.
    weight_decay: of everything but norms and biases. fusion_lr_scale: rate of the fusions in multiples of `peak_lr`.
    max_grad_norm: longer gradients are cut to this length; None: they are only watched.
    ema_decay: what is judged is the moving average of the weights, which keeps this share of itself each step (fewer
        at first); None: the weights themselves.
    recalibrate: the statistics of batch norms are taken anew before evaluation: after few steps their running means lag
        behind the weights.
    cuda_graph: the step is captured on a GPU, see `trials.training.cuda_graph`; where that fails it is not.
    """

    epochs: int = 3
    batch_size: int = 128
    optimiser: Literal["adamw", "sgd"] = "sgd"
    peak_lr: float = 0.2
    warmup_fraction: float = 0.25
    momentum: float = 0.9
    weight_decay: float = 5e-4
    max_grad_norm: float | None = None
    fusion_lr_scale: float = 1.0
    ema_decay: float | None = None
    recalibrate: bool = True
    precision: Precision = "auto"
    cuda_graph: bool = False


@dataclass(frozen=True)
class Recipe(TrainingRecipe):
    """That of classifiers, with their augmentations: `cutout` is the side of a square in pixels, `colour` how far
    brightness, contrast and saturation are varied (0 to 1), `mixup` the parameter of its Beta distribution; each is
    off at 0.
    """

    label_smoothing: float = 0.1
    crop_padding: int = 4
    flip: bool = True
    cutout: int = 0
    colour: float = 0.0
    mixup: float = 0.0


@dataclass(frozen=True)
class LatencyProtocol:
    """How latency is measured: real forward passes, warm, interleaved with the all-add network.

    `passes` of each network are taken in alternating blocks, and each block is divided by the reference's
    beside it; a measurement whose quotients drift by more than `max_drift` between its halves, or whose IQR
    is above `max_spread` of the median, is repeated up to `attempts` times, and marked unstable when none
    was quiet.
    """

    batch_size: int = 1
    warmup: int = 20
    passes: int = 200
    block: int = 3
    max_drift: float = 0.03
    max_spread: float = 0.05
    attempts: int = 3


@dataclass(frozen=True)
class Latency:
    """One measurement, in milliseconds a forward pass.

    `p50_ms` and `p95_ms` are corrected for the machine's drift by the reference measured beside it
    (`reference_p50_ms`, nominally `nominal_reference_p50_ms`); `raw_p50_ms` and `raw_p95_ms` are not.
    `drift` and `spread` (IQR / median) are those of the corrected figure, block by block.
    """

    p50_ms: float
    p95_ms: float
    raw_p50_ms: float
    raw_p95_ms: float
    reference_p50_ms: float
    nominal_reference_p50_ms: float
    drift: float
    spread: float
    stable: bool
    passes: int
    attempts: int = 1

    def check(self) -> None:
        """Raises ValueError when a figure is not a finite number, or a time not above 0."""
        for name, value in asdict(self).items():
            if isinstance(value, str) or not math.isfinite(value) or (name.endswith("_ms") and value <= 0):
                raise ValueError(f"{name} is {value!r}; expected a finite number")

    def standard_error(self, block: int) -> float:
        """Of `p50_ms`, as a share of it: a median of n normal blocks has 1.253 σ / √n, with σ = IQR / 1.349."""
        return 1.253 / 1.349 * self.spread / math.sqrt(max(self.passes / block, 1.0))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class FinalMeasurement:
    """A trial's latency, measured alone on the device when the search was over.

    `target` names device, runtime, precision, threads and batch: only figures of one target are comparable.
    """

    number: int
    target: str
    latency: Latency
    conditions: Mapping[str, Any]


@dataclass(frozen=True)
class EpochPoint:
    """One epoch of a trial's curve: mean training loss and training throughput.

    `cuda_graph` of the first epoch: "replayed", or "none" with the reason; None where none was asked for.
    """

    epoch: int
    train_loss: float
    images_per_second: float
    cuda_graph: str | None = None


@dataclass(frozen=True)
class AttentionByEpoch:
    """How the attention weights of a network moved while it was trained, by a few validation images.

    `parts` are point and part (`channel gate`, `share of map 2`) of each weight, `upper` the end of its scale, see
    `search_spaces.attention_weights`; `means` and `spreads` (standard deviations), [epoch][part], are those of the
    weights over channels, positions and images after each of `epochs`.
    """

    parts: tuple[tuple[str, str], ...]
    upper: tuple[float, ...]
    epochs: tuple[int, ...]
    means: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        rows = (self.upper, *self.means, *self.spreads)
        if not len(self.epochs) == len(self.means) == len(self.spreads) or any(len(r) != len(self.parts) for r in rows):
            raise ValueError("attention weights by epoch: expected a mean and a spread of each part after each epoch")
        if not all(math.isfinite(value) for row in rows for value in row):
            raise ValueError("attention weights by epoch: a figure is not finite")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AttentionByEpoch:
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError when the shape is not that of one."""
        parts = tuple((str(point), str(part)) for point, part in data["parts"])
        rows = {name: tuple(tuple(map(float, row)) for row in data[name]) for name in ("means", "spreads")}
        return cls(parts, tuple(map(float, data["upper"])), tuple(map(int, data["epochs"])), **rows)


@dataclass(frozen=True)
class Workload:
    """What one inference of one image does beside its multiply-adds, and the memory of its activations in bytes.

    `elementwise_ops` are those of the multiply-adds that pooling, norms and elementwise work make up;
    `bytes_moved` what all operations read and write, nothing fused. The memory is an estimate: `training_bytes`
    what is saved for the backward pass, an image of a batch; `inference_bytes` the peak; None where a network
    could not be measured.
    """

    elementwise_ops: int
    bytes_moved: int
    training_bytes: int | None = None
    inference_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Costs:
    """What a network costs: multiply-adds, parameters and p50 latency (None where not measured)."""

    macs: int
    params: int
    latency_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Timing:
    """Where the time of a trial went, in seconds.

    The worker's: `build_s` makes the network, `latency_s` measures it, `train_s` and `evaluate_s`, `pack_s` makes its
    weights ready to travel; `wait_s` is what waited for others on the machine in any of these, and is in none of them.
    The search's own: `proposal_s` chooses it, `record_s` makes the result durable, `transit_s` is all that was between
    the two and none of the worker's.
    """

    build_s: float = 0.0
    latency_s: float = 0.0
    wait_s: float = 0.0
    train_s: float = 0.0
    evaluate_s: float = 0.0
    pack_s: float = 0.0
    proposal_s: float = 0.0
    transit_s: float = 0.0
    record_s: float = 0.0

    @property
    def worker_s(self) -> float:
        return self.build_s + self.latency_s + self.wait_s + self.train_s + self.evaluate_s + self.pack_s

    @property
    def fixed_s(self) -> float:
        """What a trial costs beside the work it is for: everything but measuring, waiting, training and evaluating."""
        return self.proposal_s + self.transit_s + self.build_s + self.pack_s + self.record_s

    def to_json(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class TrialJob:
    """One proposal: which architecture to judge, under which training seed, for how many epochs. Sent to a worker.

    `start` names what the worker's plan starts its networks from, and `final` says that it is a finalist's training,
    see `trials.record.training.Training`.
    """

    number: int
    origin: str
    architecture: Architecture
    seed: int
    epochs: int
    macs: int
    params: int
    workload: Workload | None = None
    start: str = "scratch"
    final: bool = False


@dataclass(frozen=True)
class TrialResult:
    """One ended trial, as recorded, with its training. What was not reached, or not recorded by its version, is None.

    The training is one of `epochs` epochs under `seed`, and from `start`, see `trials.record.training.Training`, also
    of `final`, `readings` and `attention`.

    `score` (0..1) is the leading figure of the task on the validation split, see `trials.tasks.metrics`, and `figures`
    are all of it, by their names, for a task that has several; `loss` is that of the same split, `tempered_loss` at its
    own `temperature`, `correct` of `images`;
    `seconds` is the whole trial's in its worker, with its waiting for others on the machine, for it held the device
    meanwhile; `train_seconds` the training loop's alone, `timing` tells them apart.
    `error` says in words why it failed or was stopped, `failure` of which kind that is; `attempts` is how often
    it was begun.
    """

    number: int
    state: TrialState
    origin: str
    architecture: Architecture
    seed: int
    epochs: int
    macs: int
    params: int
    start: str = "scratch"
    score: float | None = None
    loss: float | None = None
    correct: int | None = None
    images: int | None = None
    latency: Latency | None = None
    seconds: float = 0.0
    train_seconds: float = 0.0
    images_per_second: float | None = None
    curve: tuple[EpochPoint, ...] = ()
    error: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    workload: Workload | None = None
    timing: Timing | None = None
    failure: Failure | None = None
    attempts: int = 1
    figures: Mapping[str, Any] = field(default_factory=dict)
    tempered_loss: float | None = None
    temperature: float | None = None
    final: bool = False
    readings: Images | None = field(default=None, compare=False, repr=False)
    attention: AttentionByEpoch | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("score", "loss", "tempered_loss", "seconds", "train_seconds", "images_per_second"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"trial {self.number}: {name} is {value}; a metric must be finite to be recorded")
        for name, value in self.figures.items():
            parts = value.values() if isinstance(value, Mapping) else (value,)
            if not all(part is None or math.isfinite(part) for part in parts):
                raise ValueError(f"trial {self.number}: {name} is {value}; a metric must be finite to be recorded")
        if self.latency is not None and not all(map(math.isfinite, vars(self.latency).values())):
            raise ValueError(f"trial {self.number}: latency is {self.latency}; a metric must be finite to be recorded")
        if self.state is TrialState.COMPLETE and self.score is None:
            raise ValueError(f"trial {self.number} is complete without a score")
        if self.failure is not None and self.state is not TrialState.FAILED:
            raise ValueError(f"trial {self.number} is {self.state} with a failure, {self.failure}")

    @property
    def trained(self) -> bool:
        """Whether a training came of it, well or not."""
        return self.state in (TrialState.COMPLETE, TrialState.FAILED)

    @property
    def over(self) -> bool:
        """Whether it is not tried again: all but those that were stopped."""
        return self.state is not TrialState.STOPPED

    def figure(self, name: str) -> float | None:
        """One of the task's figures; its leading one, which classifiers record alone, is the score."""
        value: float | None = self.figures.get(name) if self.figures else self.score
        return value

    @classmethod
    def of(cls, job: TrialJob, state: TrialState, **outcome: Any) -> TrialResult:
        """The result of `job` with the given state and outcome."""
        return cls(
            job.number, state, job.origin, job.architecture, job.seed, job.epochs, job.macs, job.params,
            job.start, workload=job.workload, final=job.final, **outcome,
        )  # fmt: skip
