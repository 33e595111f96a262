"""One architecture of a space: a fusion choice for every fusion point. Free of torch.

A genotype is neither a space (what may vary) nor a model (what is built from it); it is a frozen
value with a canonical JSON form, and its key is the hash of that form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from search_spaces.errors import SpaceError

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
#: The mission's six, which every space offers, and their ratios.
DEFAULT_OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff")
DEFAULT_REDUCTIONS = (4, 8, 16)


@dataclass(frozen=True, order=True)
class FusionChoice:
    """A fusion operator and its reduction ratio (None where the operator has none); `aff/4` as text."""

    op: str
    reduction: int | None = None

    def __post_init__(self) -> None:
        if self.reduction is not None and self.reduction <= 0:
            raise SpaceError(f"reduction ratio of {self.op!r} is {self.reduction}: give a whole number above 0")

    def __str__(self) -> str:
        return self.op if self.reduction is None else f"{self.op}/{self.reduction}"

    @classmethod
    @lru_cache(4096)  # of the few that there are, a large record has tens of thousands
    def parse(cls, text: str) -> FusionChoice:
        """`"aff/4"` -> `FusionChoice("aff", 4)`. Raises SpaceError for anything else."""
        match = re.fullmatch(r"\s*([^\s/]+)(?:/(-?[0-9]+))?\s*", text)
        if match is None:
            raise SpaceError(f"choice {text!r} is not OPERATOR or OPERATOR/RATIO, such as 'aff/4'")
        return cls(match[1], None if match[2] is None else int(match[2]))


@dataclass(frozen=True)
class Architecture:
    """The choices of one candidate, in the order of the space's fusion points."""

    space: str
    choices: Mapping[str, FusionChoice]

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", MappingProxyType(dict(self.choices)))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.canonical_json == other.canonical_json

    def __reduce__(self) -> tuple[Any, ...]:
        return Architecture, (self.space, dict(self.choices))

    @property
    def canonical_json(self) -> str:
        """The one JSON text of this architecture: sorted points, no spaces."""
        return _CANONICAL.encode(self.to_json())

    @cached_property
    def key(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json.encode()).hexdigest()[:16]

    def labels(self) -> dict[str, str]:
        """`{"layer1.0": "aff/4", …}` in the order of the points."""
        return {point: str(choice) for point, choice in self.choices.items()}

    def to_json(self) -> dict[str, Any]:
        return {"space": self.space, "choices": self.labels()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Architecture:
        """The inverse of `to_json`. Raises SpaceError when the shape is not that of an architecture."""
        try:
            choices = {str(point): FusionChoice.parse(str(label)) for point, label in data["choices"].items()}
            return cls(str(data["space"]), choices)
        except (KeyError, AttributeError, TypeError):
            raise SpaceError('an architecture is {"space": NAME, "choices": {POINT: "aff/4", …}}') from None
