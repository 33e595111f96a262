"""The fusion operators. To add one: write its file here (or anywhere) and decorate its class with `register`."""

from search_spaces.fusions import aff, attention, cbam, dynamic, eca, gated, linear, selective, squeeze_excite
from search_spaces.fusions.layers import check_shapes
from search_spaces.fusions.registry import (
    AttentionWeights,
    FusionOperator,
    build_concatenation,
    build_fusion,
    operator,
    operator_names,
    register,
    unregister,
)
from search_spaces.fusions.settings import FusionSettings

__all__ = [
    "AttentionWeights",
    "FusionOperator",
    "FusionSettings",
    "aff",
    "attention",
    "build_concatenation",
    "build_fusion",
    "cbam",
    "check_shapes",
    "dynamic",
    "eca",
    "gated",
    "linear",
    "operator",
    "operator_names",
    "register",
    "selective",
    "squeeze_excite",
    "unregister",
]
