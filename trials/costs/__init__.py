"""What an architecture costs, and which architectures are within a budget: exact, and in microseconds."""

from trials.costs.counting import Work, count_macs, count_params, count_work, counter_version
from trials.costs.feasible import FeasibleSet
from trials.costs.relaxed import RelaxedSet, feasible_set
from trials.costs.sums import TooManySums
from trials.costs.table import CostTable, fusion_parts

__all__ = [
    "CostTable",
    "FeasibleSet",
    "RelaxedSet",
    "TooManySums",
    "Work",
    "count_macs",
    "count_params",
    "count_work",
    "counter_version",
    "feasible_set",
    "fusion_parts",
]
