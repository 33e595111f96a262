"""What may vary: fusion operators, networks with fusion points, architectures, spaces.

    InputSpec ─┐
    NetworkDesign ── points ──> SearchSpace ── sample / validate ──> Architecture
    FusionOperator (registry) ──┘        └──── build(Architecture) ──> nn.Module

`Architecture` and `FusionChoice` are free of torch; the rest is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.errors import SpaceError

if TYPE_CHECKING:
    from search_spaces.catalogue import design, names
    from search_spaces.conformance import ConformanceError, Finding, check_operator
    from search_spaces.discovery import DiscoveredSpace, discover
    from search_spaces.fusions import AttentionWeights, FusionSettings, check_shapes, operator, operator_names, register
    from search_spaces.inheritance import inherit
    from search_spaces.networks import InputSpec, NetworkDesign, PointShape
    from search_spaces.space import DEFAULT_OPERATORS, DEFAULT_REDUCTIONS, FusionPoint, SearchSpace, Variable

_LAZY = {
    "DiscoveredSpace": "discovery",
    "design": "catalogue",
    "discover": "discovery",
    "inherit": "inheritance",
    "names": "catalogue",
    "ConformanceError": "conformance",
    "Finding": "conformance",
    "check_operator": "conformance",
    "AttentionWeights": "fusions",
    "FusionSettings": "fusions",
    "check_shapes": "fusions",
    "operator": "fusions",
    "operator_names": "fusions",
    "register": "fusions",
    "InputSpec": "networks",
    "NetworkDesign": "networks",
    "PointShape": "networks",
    "DEFAULT_OPERATORS": "space",
    "DEFAULT_REDUCTIONS": "space",
    "FusionPoint": "space",
    "SearchSpace": "space",
    "Variable": "space",
}

__all__ = [
    "DEFAULT_OPERATORS",
    "DEFAULT_REDUCTIONS",
    "Architecture",
    "AttentionWeights",
    "ConformanceError",
    "DiscoveredSpace",
    "Finding",
    "FusionChoice",
    "FusionPoint",
    "FusionSettings",
    "InputSpec",
    "NetworkDesign",
    "PointShape",
    "SearchSpace",
    "SpaceError",
    "Variable",
    "check_operator",
    "check_shapes",
    "design",
    "discover",
    "inherit",
    "names",
    "operator",
    "operator_names",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
