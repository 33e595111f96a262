"""The fusion operators. To add one: write its file here (or anywhere) and decorate its class with `register`."""

from search_spaces.fusions import aff, cbam, linear, squeeze_excite
from search_spaces.fusions.registry import (
    FusionOperator,
    build_fusion,
    operator,
    operator_names,
    register,
    unregister,
)

__all__ = [
    "FusionOperator",
    "aff",
    "build_fusion",
    "cbam",
    "linear",
    "operator",
    "operator_names",
    "register",
    "squeeze_excite",
    "unregister",
]
