"""Does the graph with its points compute what the original computes: outputs, gradients and statistics?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from search_spaces.discovery.steadiness import random_states_kept, seed_everything

#: How far outputs may be from the original's, in parts of the largest: both take the same steps.
EXACT = 1e-6
#: The same of gradients and statistics, of which sums may be taken in another order.
ALIKE = 1e-4
#: Images of so many pixels take long to train on: then one size is enough, half of it.
LARGE = 96

Found = dict[str, torch.Tensor]


def difference(model: nn.Module, network: nn.Module, example: torch.Tensor) -> str:
    """Where `network`, the traced form of `model`, is not it: one clause, empty where it is the same throughout.

    Both are run in evaluation (twice in turn on the example), at two sizes and batches, and trained for a step, from
    the same random numbers. Inputs that the original itself does not take prove nothing. Copies are run: neither
    changes.
    """
    for number, inputs in enumerate(_inputs(example)):
        passes = 1 if number else 2
        expected = _run(model, inputs, passes)
        if expected is not None and (far := _far(expected, _run(network, inputs, passes), EXACT)):
            return f"traced, it gives other outputs than its own ({far}) for {_shape(inputs)}"
    for inputs in reversed([*_inputs(example)]):
        if len(inputs) == 1:  # batch norms of single values refuse it, and the next has another
            continue
        expected = _run(model, inputs)
        if expected is None:
            continue
        if far := _far(expected, _run(network, inputs), ALIKE):
            again = _run(model, inputs)
            if again is not None and not _far(expected, again, ALIKE):  # else no seed decides what it draws
                return f"traced, it trains otherwise than by itself ({far}) for {_shape(inputs)}"
        if min(example.shape[2:]) >= LARGE:
            break
    return ""


def unsteady(model: nn.Module, example: torch.Tensor) -> bool:
    """Whether it answers the same images otherwise each time in evaluation: by a draw, or by what it keeps in mind."""
    few = example[:2]
    if min(few.shape[2:]) >= LARGE:
        few = few[:, :, : few.shape[2] // 2, : few.shape[3] // 2]
    found = _run(model, few, 3) or _run(model, example, 3)
    if found is None:
        return False
    passes = [{name.partition(" of ")[0]: t for name, t in found.items() if name.endswith(f" {n}")} for n in (1, 2, 3)]
    return any(_far(passes[0], later, EXACT) for later in passes[1:])


def untrainable(model: nn.Module, example: torch.Tensor) -> str:
    """What the original raises in a step of training, in one line; empty where it trains. A copy is run."""
    with random_states_kept(model), torch.enable_grad():
        try:
            leaves = pytree.tree_leaves(copy.deepcopy(model).train()(torch.cat([example, example.flip(3)])))
            _backward(leaves)
        except Exception as error:  # of a user's own code
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return ""


def _inputs(example: torch.Tensor) -> Iterator[torch.Tensor]:
    """[B, C, H, W], then of another batch, and of another size and batch."""
    yield example
    more = torch.cat([example, example.flip(3)])[: len(example) + 1]
    yield more
    if min(example.shape[2:]) >= LARGE:
        yield more[:, :, : example.shape[2] // 2, : example.shape[3] // 2]
    else:
        yield torch.cat([more, more.roll(example.shape[3] // 2, 3)], 3)[:, :, :, : example.shape[3] + 32]


def _run(network: nn.Module, inputs: torch.Tensor, passes: int | None = None) -> Found | None:
    """The outputs of so many passes in evaluation; without a number those of one in training, the gradients and all
    statistics. None where it does not take such inputs.
    """
    training = passes is None
    found: Found = {}
    with random_states_kept(network):
        seed_everything(0)
        try:
            running = copy.deepcopy(network).train(training)
            with torch.set_grad_enabled(training):
                for number in range(passes or 1):
                    leaves = pytree.tree_leaves(running(inputs.clone()))
                    for index, leaf in enumerate(leaves):
                        kind = leaf.detach() if isinstance(leaf, torch.Tensor) else torch.zeros(0)
                        found[f"output {index + 1} of pass {number + 1}"] = kind.clone()
                if training:
                    _backward(leaves)
        except Exception:
            return None
    if training:
        found |= {
            f"the gradient of {name}": p.grad
            for name, p in running.named_parameters(remove_duplicate=False)
            if p.grad is not None
        }
        saved = running.state_dict()
        buffers = running.named_buffers(remove_duplicate=False)
        found |= {name: buffer for name, buffer in buffers if name in saved}
    return found


def _backward(leaves: list[Any]) -> None:
    """Gradients of a sum in which every value of every output has another weight."""
    total = torch.zeros(())
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad and leaf.is_floating_point():
            weights = torch.linspace(0.5, 1.5, leaf.numel(), dtype=leaf.dtype, device=leaf.device)
            total = total.to(leaf) + (leaf.flatten() * weights).sum()
    if total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]


def _far(expected: Found, given: Found | None, most: float) -> str:
    """What is farther away than `most`, as a share of the largest value; empty where nothing is."""
    if given is None:
        return "it raises an error"
    if expected.keys() != given.keys():
        return f"one has {min(expected.keys() ^ given.keys())}, the other not"
    # A gradient that is nothing but rounding, as of a bias before a batch norm, is measured by the others.
    gradients = [t for name, t in expected.items() if not name.startswith("output") and t.is_floating_point()]
    least = 1e-3 * max((float(_sizes(t).max()) for t in gradients if t.numel()), default=0.0)
    for name, tensor in expected.items():
        other = given[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            return f"{name} has another shape or type"
        if torch.equal(tensor, other) or not tensor.numel():
            continue
        gap = (tensor.double() - other.double()).abs()
        gap[tensor.isnan() & other.isnan()] = 0
        gap[tensor == other] = 0  # infinities too
        scale = max(float(_sizes(tensor).max()), 0.0 if name.startswith("output") else least)
        share = float(gap.nan_to_num(nan=float("inf")).max()) / scale if scale else float("inf")
        if share > most:
            return f"{name} differs"
    return ""


def _sizes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double().abs().nan_to_num(nan=0.0, posinf=0.0)


def _shape(inputs: torch.Tensor) -> str:
    return "inputs of " + "x".join(map(str, inputs.shape))
