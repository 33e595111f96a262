"""A training step captured once and replayed: on a GPU a small network's step is bound by launching its kernels.

What is captured is trusted only after its first step has come out as the same step without it. A graph does what was
done on the device when it was captured: a network whose Python code does another thing at each step (a supernet that
takes a path, depth that is drawn on the CPU) is not for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from trials.tasks.task import Batches, Draws
from trials.training.step import TrainingStep

Work = Callable[[], None]

#: Steps in a training below which warming up and capturing, about five steps' time, do not repay themselves.
LEAST_STEPS = 50
LEAST_TORCH = "2.15"
#: Steps before the capture, in which libraries choose and load their kernels.
_WARM_UP_STEPS = 3
#: How far a replayed step may end from the same step without a graph, as a share of the way that this went. Kernels
#: that add in no fixed order, in bfloat16, differ by some thousandths.
_TOLERANCE = 0.05


class CaptureFailed(RuntimeError):
    """A step cannot be replayed: it waits for the device, or came out as another one. Nothing was changed by trying."""


class ReplayedStep:
    """Does with a batch's draws what `step` does, by replaying a graph.

    Raises:
        CaptureFailed: it cannot be had; the state of the step is as it was.
    """

    def __init__(self, step: TrainingStep, example: Draws, record: Callable[[Work], Work]) -> None:
        """`example` are draws of the shapes that all will have; `record` captures some work and returns what repeats
        it."""
        self._inputs = example.to(step.device)
        state, before = step.state(), _copies(step.state())
        random = _random_state(step.device)

        def work() -> None:
            step(self._inputs)

        def restore() -> None:
            with torch.no_grad():
                for tensor, value in zip(chain(*state), chain(*before), strict=True):
                    tensor.copy_(value)
            _set_random_state(step.device, random)

        def outcome(one: Work) -> list[list[Tensor]]:
            """The state after it; which is then as before."""
            one()
            after = _copies(state)
            restore()
            return after

        try:
            with _beside(step.device):
                for _ in range(_WARM_UP_STEPS):
                    work()
            restore()
            expected = outcome(work)
            self._replay = record(work)
            restore()
            found = outcome(self._replay)
        except Exception as error:  # whatever a network's own code does that a graph cannot hold
            restore()
            first = _first(error)
            text = " ".join(str(first).split())
            raise CaptureFailed(f"{type(first).__name__}: {text[:200]}") from None
        for parts in zip(before, expected, found, strict=True):
            if not (share := _deviation(*parts)) <= _TOLERANCE:
                raise CaptureFailed(f"a replayed step ended {share:.2g} of its length away from one without a graph")

    def __call__(self, draws: Draws) -> None:
        for ours, given in zip(self._inputs.tensors(), draws.tensors(), strict=True):
            ours.copy_(given, non_blocking=True)
        self._replay()


def replayed(step: TrainingStep, batches: Batches, seed: int, steps: int) -> ReplayedStep:
    """`step`, for a training of so many, from a CUDA graph. Raises CaptureFailed, with the reason there is none."""
    if step.device.type != "cuda":
        raise CaptureFailed("there is no CUDA device")
    if torch.__version__ < TorchVersion(LEAST_TORCH):  # what failed in a capture leaves its memory pool open there
        raise CaptureFailed(
            f"torch is {torch.__version__}, and {LEAST_TORCH} is the first that can go on after one that fails"
        )
    if batches.not_captured is not None:
        raise CaptureFailed(batches.not_captured)
    if steps < LEAST_STEPS:
        raise CaptureFailed(f"{steps} steps do not repay it, {LEAST_STEPS} would")
    return ReplayedStep(step, next(batches.draw(seed, 0)), partial(cuda_graph, device=step.device))


def cuda_graph(work: Work, device: torch.device) -> Work:
    """Capture what `work` launches on a CUDA device, without doing it; returns what does it."""
    graph = torch.cuda.CUDAGraph()
    # Other threads of a worker may allocate meanwhile: that is no fault of this one's.
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay


@contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """On a stream of its own, as work must have run before it is captured."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.cuda.current_stream(device).wait_stream(stream)


def _first(error: BaseException) -> BaseException:
    """What went wrong first: the end of a capture that failed fails too."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _copies(groups: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    return [[tensor.detach().clone() for tensor in group] for group in groups]


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def _deviation(before: Sequence[Tensor], expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """The distance between two ends of a step, in lengths of the step; NaN where one of them is not finite."""
    if not before:
        return 0.0

    def distance(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
        parts = [(one.double() - other.double()).square().sum() for one, other in zip(ones, others, strict=True)]
        return float(torch.stack(parts).sum().sqrt())

    length, apart = distance(before, expected), distance(found, expected)
    return apart / length if length > 0 else apart
