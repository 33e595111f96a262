"""How operators are made, whichever is chosen: norm, dropout, scale, start."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from search_spaces.errors import SpaceError
from search_spaces.fusions.norms import NORMS, Norm


@dataclass(frozen=True)
class FusionSettings:
    """One setting for every operator of a network; each operator is handed those that its constructor takes.

    A setting left at its default is not handed on: the operator's own default stands, which is the same for
    the operators of this package.

    Attributes:
        norm: what the operators that normalise use: see `norms.normalisation` for which is used when.
        dropout: the probability with which a value inside an attention part is dropped in training.
        scale: None lets each operator's coefficients sum to the number of maps, as a plain sum's do; 1 is
            the published form.
        identity_init: start as exactly the sum of the maps. Without it gates and projections start random.
    """

    norm: Norm = "batch"
    dropout: float = 0.0
    scale: float | None = None
    identity_init: bool = True

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise SpaceError(f"norm of the fusions is {self.norm!r}: choose from {', '.join(NORMS)}")
        if not 0 <= self.dropout < 1:
            raise SpaceError(f"dropout of the fusions is {self.dropout}: give a probability from 0 to below 1")
        if self.scale is not None and not self.scale > 0:
            raise SpaceError(f"scale of the fusions is {self.scale}: give a number above 0, or None")

    def options(self, module: type[nn.Module]) -> dict[str, Any]:
        """The keyword arguments that make a `module` by these settings."""
        taken = inspect.signature(module).parameters
        changed = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: changed[name] for name in changed if name in taken and changed[name] != getattr(DEFAULT, name)}


DEFAULT = FusionSettings()
