"""Trainings of other runs that count in the estimates of this one, and how they are related to its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.architecture import Architecture
from trials.record.training import Training

#: What another run may have otherwise, from what says least of its trainings' worth here to what says most.
DIFFERENCES = ("versions", "operators' settings", "schedule", "images", "network", "data")
#: Of a training, what estimates are made from.
_KEPT = ("seed", "epochs", "start", "score", "loss", "tempered_loss", "images")


@dataclass(frozen=True)
class Evidence:
    """What counts of another run: `trainings` with a score, of architectures of this run's space.

    `run` is the folder it was read from, `identity` says which run it is wherever that lies, `differs` what it has
    otherwise than this run (of `DIFFERENCES`). Of its `scored` trainings, `left_out` says how many do not count, by
    reason. Read once, and a part of this run's record from then on.
    """

    run: str
    identity: str
    differs: tuple[str, ...]
    scored: int
    left_out: Mapping[str, int]
    trainings: tuple[Training, ...]

    @property
    def same(self) -> bool:
        """Whether its trainings are what this run's own would be: of the same fidelities, not of its own ones."""
        return not self.differs

    @property
    def other_data(self) -> bool:
        """Whether it is of other data or another network, so that little is known of what its ranks say here."""
        return not {"data", "network"}.isdisjoint(self.differs)

    def to_json(self) -> dict[str, Any]:
        return {**self.summary(), "trainings": [_to_json(training) for training in self.trainings]}

    def summary(self) -> dict[str, Any]:
        """It without its trainings, but for their number."""
        return {
            "run": self.run, "identity": self.identity, "differs": list(self.differs), "scored": self.scored,
            "left_out": dict(self.left_out), "counted": len(self.trainings),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(
            data["run"], data["identity"], tuple(data["differs"]), data["scored"], data["left_out"],
            tuple(_training(one) for one in data["trainings"]),
        )  # fmt: skip


def apart(evidence: Sequence[Evidence], own: Sequence[Training]) -> tuple[list[Training], list[Evidence]]:
    """The trainings of other runs that count as a run's own would, and the other evidence, whose fidelities are its
    own. What the run has trained itself counts as that alone."""
    known = {training.identity for training in own}
    same: dict[Any, Training] = {}
    for one in evidence:
        if one.same:
            for training in one.trainings:
                if training.identity not in known:
                    same.setdefault(training.identity, training)
    return list(same.values()), [one for one in evidence if not one.same and one.trainings]


def _to_json(training: Training) -> dict[str, Any]:
    return training.architecture.to_json() | {name: getattr(training, name) for name in _KEPT}


def _training(data: Mapping[str, Any]) -> Training:
    kept: dict[str, Any] = {name: data.get(name) for name in _KEPT}
    return Training(Architecture.from_json(data), **kept)
