"""A training: an architecture, a seed, epochs and a start, and what came of it. The unit of all that a run pays for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture
from trials.trial import AttentionByEpoch, EpochPoint, Failure, TrialJob, TrialResult, TrialState

if TYPE_CHECKING:
    from trials.readings import Images

#: Failures that say nothing of an architecture: the machine's, not its own.
OF_THE_MACHINE = (Failure.WORKER_LOST,)

#: What is trained once, as a trial and as a finalist: architecture key, seed, epochs, start.
Identity = tuple[str, int, int, str]


@dataclass(frozen=True)
class Training:
    """A complete schedule of `epochs` epochs under `seed`, from `start`; `error` says why it has no score.

    `start` names the weights before the first step: `scratch`, or `inherit:` or `supernet:` and the digest of what
    they were taken from. `score` (0..1) is the leading figure of the task on the validation split, `figures` all of
    it where there are several, `loss` that of the same split, `tempered_loss` at the `temperature` that suits it best
    (see `trials.tasks.temperature`; None of detectors, and where it was not recorded yet), `correct` of `images`.
    Whoever asked for it (a trial, a study of noise, a rung), it is recorded in one table.

    A `final` one is a finalist's: of the training and the validation images together, judged on the test split, and
    never a look at what a trial would score. `readings` are what it made of each image of that split, where there are
    any: kept beside the record, not in it. `attention` is how its attention weights moved, None where they were not
    looked at; one that went on after a kill has those of its later epochs alone.
    """

    architecture: Architecture
    seed: int
    epochs: int
    start: str = "scratch"
    score: float | None = None
    loss: float | None = None
    correct: int | None = None
    images: int | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    train_seconds: float = 0.0
    images_per_second: float | None = None
    curve: tuple[EpochPoint, ...] = ()
    error: str | None = None
    failure: Failure | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    tempered_loss: float | None = None
    temperature: float | None = None
    final: bool = False
    readings: Images | None = field(default=None, compare=False, repr=False)
    attention: AttentionByEpoch | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("score", "loss", "tempered_loss", "train_seconds"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"training of {self.architecture.key}: {name} is {value}; it must be finite")
        if (self.score is None) != (self.error is not None):
            raise ValueError(f"training of {self.architecture.key}: it has either a score or an error")

    @property
    def identity(self) -> Identity:
        return self.architecture.key, self.seed, self.epochs, self.start

    @property
    def look(self) -> tuple[str, int, int]:
        """Its identity among the trainings that start from the same."""
        return self.identity[:3]

    @property
    def known(self) -> bool:
        """Whether it need not be tried again: it has a score, or failed by its own fault, as it would again."""
        return self.error is None or self.failure not in OF_THE_MACHINE

    def as_trial(self, job: TrialJob) -> TrialResult:
        """The result of a trial that needs no other training than this one, which has a score."""
        return TrialResult.of(
            job, TrialState.COMPLETE, score=self.score, loss=self.loss, correct=self.correct, images=self.images,
            figures=self.figures, seconds=self.seconds, train_seconds=self.train_seconds,
            images_per_second=self.images_per_second, curve=self.curve, environment=self.environment,
            tempered_loss=self.tempered_loss, temperature=self.temperature, attention=self.attention,
        )  # fmt: skip

    @classmethod
    def of(cls, result: TrialResult) -> Training:
        """That of an ended trial, complete or failed."""
        return cls(
            result.architecture, result.seed, result.epochs, result.start,
            score=result.score, loss=result.loss, correct=result.correct, images=result.images, figures=result.figures,
            seconds=result.seconds, train_seconds=result.train_seconds, images_per_second=result.images_per_second,
            curve=result.curve, error=None if result.score is not None else result.error or str(result.state),
            failure=result.failure, environment=result.environment, final=result.final, readings=result.readings,
            tempered_loss=result.tempered_loss, temperature=result.temperature, attention=result.attention,
        )  # fmt: skip
