"""What may be tried at all: the architectures within every budget that is known without training or measuring.

Multiply-adds and parameters are computed; a latency is predicted where a device profile was given. Uniform samples are
drawn from within all of them together, however few these are. That nothing is left is said where it is proven: where
all that are within were listed. Where samples miss what cannot be listed, a walk over one-point changes goes on from
the fastest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.budgets.feasibility import Feasibility
from trials.budgets.pricing import Pricing
from trials.profile import DeviceProfile, fastest_predicted
from trials.profile.predicted_set import PredictedSet

#: Draws that may be unwanted before those that are wanted are looked for among all.
DRAWS = 1_000
#: Steps of a walk from what is within.
STEPS = 2_000
#: Below this share of a space, budgets are said to be narrow.
NARROW = 0.05


class Candidates:
    """Of one search. What is within is worked out when it is first asked for."""

    def __init__(self, space: SearchSpace, feasibility: Feasibility, pricing: Pricing) -> None:
        self._space, self._feasibility = space, feasibility
        #: What a predicted latency may be at most; None where none is predicted, or none is limited.
        self._gate_ms, self._profile = pricing.gate_ms(), pricing.profile
        #: Whether a latency is limited that workers measure before they train.
        limited = any(constraint.metric == "latency_ms" for constraint in pricing.constraints)
        self.measured_first = limited and self._profile is None

    def __call__(self, architecture: Architecture) -> bool:
        return self._feasibility(architecture) and self.fast_enough(architecture)

    def fast_enough(self, architecture: Architecture) -> bool:
        """Whether its predicted latency, where there is a limit to one, is within."""
        gate, profile = self._gate_ms, self._profile
        return gate is None or profile is None or profile.predict_ms(architecture) <= gate

    @cached_property
    def predicted(self) -> PredictedSet | None:
        """The set under a limit to a predicted latency; None where there is none."""
        return None if self._gate_ms is None or not isinstance(self._profile, DeviceProfile) else self._set

    def sample(self, rng: random.Random, wanted: Callable[[Architecture], bool]) -> Architecture | None:
        """A uniformly random one of those that are `wanted`; None where none was found: see `nothing_left`.

        By a walk, which is not uniform, where a thousand draws gave nothing that is wanted and there are too many to be
        listed.
        """
        if self.predicted is None:
            found = self._feasibility.sample(rng, lambda one: self.fast_enough(one) and wanted(one))
        else:
            drawn = (row for count in (1, DRAWS) for row in self.predicted.drawn(rng, count).tolist())
            found = next((one for one in map(self._of, drawn) if self(one) and wanted(one)), None)
        if found is not None:
            return found
        left = self._left(wanted)
        if left is not None:
            return rng.choice(left) if left else None
        return self._walked(rng, wanted)

    def nothing_left(self, wanted: Callable[[Architecture], bool]) -> bool:
        """Whether it is proven that none is wanted: all that are within were looked at."""
        return self._left(wanted) == []

    def narrow(self) -> str | None:
        """A sentence where a limit to the latency leaves little of the space; None where it leaves more."""
        if self.predicted is None or (share := self.predicted.share) >= NARROW:
            return None
        some = f"about 1 in {1 / share:,.0f} architectures is" if share else "hardly any architecture is"
        return f"the latency budget is narrow: {some} within all budgets; what is drawn at random is drawn from these"

    def _left(self, wanted: Callable[[Architecture], bool]) -> list[Architecture] | None:
        """Those that are wanted of all that are within; None where these are too many to be listed."""
        if self._set.members is None:
            return None
        return [one for one in map(self._of, self._set.members.tolist()) if self(one) and wanted(one)]

    @cached_property
    def _set(self) -> PredictedSet:
        costs = self._feasibility.costs
        options = [costs.options(variable) for variable in self._space.variables]
        bounds = [bound - fixed for bound, fixed in zip(self._feasibility.bounds, costs.fixed, strict=True)]
        profile = self._profile if self._gate_ms is not None and isinstance(self._profile, DeviceProfile) else None
        return PredictedSet(self._space, options, (bounds[0], bounds[1]), profile, self._gate_ms or 0.0)

    def _of(self, row: Sequence[int]) -> Architecture:
        variables = self._space.variables
        return self._space.assign({v.name: v.choices[number] for v, number in zip(variables, row, strict=True)})

    def _walked(self, rng: random.Random, wanted: Callable[[Architecture], bool]) -> Architecture | None:
        """The first that is wanted on a walk over one-point changes within; None where none was met."""
        costs, space = self._feasibility.costs, self._space
        starts = [space.baseline, costs.cheapest("macs"), costs.cheapest("params")]
        if isinstance(self._profile, DeviceProfile):
            starts = [fastest_predicted(space, self._profile), *starts]
        here = next(filter(self, starts), None)
        if here is None:
            return None
        for _ in range(STEPS):
            variable = rng.choice(space.variables)
            choice = rng.choice(variable.choices)
            there = Architecture(here.space, {**here.choices, **dict.fromkeys(variable.points, choice)})
            if self(there):
                here = there
                if wanted(here):
                    return here
        return None
