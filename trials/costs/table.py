"""What the architectures of a space cost: trunk + Σ cost(point, choice), each counted once, then added."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import nn

from search_spaces.architecture import Architecture, FusionChoice
from search_spaces.fusions import operator
from search_spaces.networks import PointShape
from search_spaces.space import FusionPoint, SearchSpace, Variable, fusion_at
from trials.costs.counting import Work, count_params, count_work, refuse, warn_of
from trials.costs.memory import TrunkMemory, example_maps, peak_bytes, saved_activations, trunk_memory
from trials.trial import Costs, Workload


class Part(NamedTuple):
    """What the trunk, or one choice at one point, adds to a network of one image."""

    macs: int
    params: int
    elementwise_ops: int
    bytes_moved: int
    kernels: int

    @classmethod
    def of(cls, work: Work, params: int) -> Part:
        return cls(work.macs, params, work.elementwise_ops, work.bytes_moved, work.kernels)


def fusion_parts(space: SearchSpace) -> dict[str, dict[FusionChoice, Part]]:
    """What each choice at each point adds, by the point's name; alike points are counted once."""
    counted: dict[tuple[object, ...], Part] = {}
    with torch.random.fork_rng(devices=[]):  # counting is not to move the caller's random numbers
        return {
            point.name: {choice: _counted(space, point.shape, choice, counted) for choice in point.choices}
            for point in space.points
        }


def _counted(
    space: SearchSpace, shape: PointShape, choice: FusionChoice, counted: dict[tuple[object, ...], Part]
) -> Part:
    alike = (choice, *_alike(shape))
    if alike not in counted:
        module = fusion_at(shape, choice, space.settings)
        maps = [torch.zeros(1, channels, shape.height, shape.width) for channels in shape.inputs]
        handler = _ours_or_users(operator(choice.op).module)
        counted[alike] = Part.of(count_work(module, *maps, uncounted=handler), count_params(module))
    return counted[alike]


class CostTable:
    """The costs of a space: its trunk and each choice at each point are counted once, then added.

    A batch of one image is what is counted. Operations that no handle knows raise UncountedError in our own
    networks and operators, and with weights in a user's; of a user's others it is warned.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._parts = fusion_parts(space)
        with torch.random.fork_rng(devices=[]):
            network = space.build(space.baseline)
            image = torch.zeros(1, *space.input_shape)
            whole = Part.of(count_work(network, image, uncounted=_ours_or_users(space.design)), count_params(network))
        fusions = zip(*self._of(space.baseline), strict=True)
        self._trunk = Part(*(total - sum(parts) for total, parts in zip(whole, fusions, strict=True)))

    def _of(self, architecture: Architecture) -> list[Part]:
        return [self._parts[point][choice] for point, choice in architecture.choices.items()]

    def __call__(self, architecture: Architecture) -> Costs:
        """Exact multiply-adds and parameters of a validated architecture of the space."""
        macs, params = self._trunk.macs, self._trunk.params
        for point, choice in architecture.choices.items():
            part = self._parts[point][choice]
            macs += part[0]
            params += part[1]
        return Costs(macs, params)

    def workload(self, architecture: Architecture) -> Workload:
        """What else the architecture does: exact sums, and the two estimates of memory.

        Activations saved for a backward pass add up. An inference needs the largest of what lives in the
        trunk and, at each point, what lives there and what the fusion adds.
        """
        parts = [self._trunk, *self._of(architecture)]
        training, inference = self._memory(architecture)
        return Workload(
            elementwise_ops=sum(part.elementwise_ops for part in parts),
            bytes_moved=sum(part.bytes_moved for part in parts),
            training_bytes=training,
            inference_bytes=inference,
        )

    def _memory(self, architecture: Architecture) -> tuple[int | None, int | None]:
        if self._fusion_memory is None:
            return None, None
        trunk, fusions = self._fusion_memory
        own = {point: fusions[point, choice] for point, choice in architecture.choices.items()}
        training = trunk.saved + sum(saved for saved, _ in own.values())
        return training, max([trunk.peak, *(trunk.live[point] + peak for point, (_, peak) in own.items())])

    @cached_property
    def _fusion_memory(self) -> tuple[TrunkMemory, dict[tuple[str, FusionChoice], tuple[int, int]]] | None:
        """The trunk's memory and each choice's (saved, peak); None of a user's network that cannot be trained."""
        space = self._space
        with torch.random.fork_rng(devices=[]):
            network = space.build(space.baseline)
            try:
                trunk = trunk_memory(network, space.input_shape)
            except Exception:
                if _is_ours(type(space.design)):
                    raise
                return None
            measured: dict[tuple[object, ...], tuple[int, int]] = {}
            found = {}
            for point in space.points:
                for choice in point.choices:
                    saved_already = trunk.inputs_saved[point.name]
                    alike = (choice, saved_already, *_alike(point.shape))
                    if alike not in measured:
                        measured[alike] = self._measured(point, choice, saved_already)
                    found[point.name, choice] = measured[alike]
            return trunk, found

    def _measured(self, point: FusionPoint, choice: FusionChoice, saved_already: Iterable[bool]) -> tuple[int, int]:
        module, shape = fusion_at(point.shape, choice, self._space.settings), point.shape
        maps = example_maps(shape.inputs, shape.height, shape.width)
        one = [tensor[:1].clone() for tensor in maps]
        found = saved_activations(module, maps)
        inputs = sum(
            tensor.nbytes
            for tensor, wanted, there in zip(one, found.inputs_saved, saved_already, strict=True)
            if wanted and not there
        )
        return found.bytes_saved + inputs, peak_bytes(module, one)

    def options(self, variable: Variable) -> list[tuple[int, int]]:
        """(macs, params) of each choice of a variable, at all points that it decides."""
        parts = [self._parts[point] for point in variable.points]
        return [
            (sum(part[choice].macs for part in parts), sum(part[choice].params for part in parts))
            for choice in variable.choices
        ]

    @cached_property
    def fixed(self) -> tuple[int, int]:
        """(macs, params) of all that does not vary: the trunk, and the points of one choice."""
        baseline = self(self._space.baseline)
        varying = [self._parts[p][FusionChoice("add")] for v in self._space.variables for p in v.points]
        return baseline.macs - sum(p.macs for p in varying), baseline.params - sum(p.params for p in varying)

    def extreme(self, metric: str, pick: Callable[..., int]) -> Architecture:
        """The architecture that `pick` (min or max) makes of every variable by its choices' `metric`."""
        index = ("macs", "params").index(metric)

        def cost(options: list[tuple[int, int]], number: int) -> int:
            return options[number][index]

        chosen = {}
        for variable in self._space.variables:
            options = self.options(variable)
            chosen[variable.name] = variable.choices[pick(range(len(options)), key=partial(cost, options))]
        return self._space.assign(chosen)

    def cheapest(self, metric: str = "macs") -> Architecture:
        """The architecture of least cost (exact: the parts add up)."""
        return self.extreme(metric, min)

    def costliest(self, metric: str = "macs") -> Architecture:
        """The architecture of greatest cost."""
        return self.extreme(metric, max)


def _alike(shape: PointShape) -> tuple[object, ...]:
    return shape.merge, shape.inputs, shape.height, shape.width


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith(("search_spaces.networks.", "search_spaces.fusions."))


def _ours_or_users(subject: type[nn.Module] | object) -> Callable[[Iterable[str]], None]:
    """What is done about operations of unknown cost: refused in our own code, warned of in a user's."""
    return refuse if _is_ours(subject if isinstance(subject, type) else type(subject)) else warn_of
