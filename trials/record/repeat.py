"""One more training of an architecture, under another seed or for longer: what noise and trust are measured by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.architecture import Architecture
from trials.trial import TrialResult


@dataclass(frozen=True)
class Repeat:
    """A training of `epochs` epochs, a complete schedule, under `seed`; `error` says why it has no scores.

    Trained and judged as a trial is, so a complete trial is one too.
    """

    architecture: Architecture
    seed: int
    epochs: int
    score: float | None = None
    loss: float | None = None
    correct: int | None = None
    images: int | None = None
    train_seconds: float = 0.0
    error: str | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("score", "loss", "train_seconds"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"repeat of {self.architecture.key}: {name} is {value}; it must be finite")
        if (self.score is None or self.loss is None) != (self.error is not None):
            raise ValueError(f"repeat of {self.architecture.key}: it has either scores or an error")

    @property
    def identity(self) -> tuple[str, int, int]:
        """What is trained once: architecture, seed, epochs."""
        return self.architecture.key, self.seed, self.epochs

    @classmethod
    def of(cls, result: TrialResult, epochs: int) -> Repeat:
        """An ended trial (complete or failed) as a repeat."""
        return cls(
            result.architecture, result.seed, epochs, result.score, result.loss, result.correct, result.images,
            result.train_seconds, result.error, result.environment,
        )  # fmt: skip
