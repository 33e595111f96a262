"""Which batch norms can go into the convolutions before them without changing what a network computes."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from nas.export.standalone import fold

#: What folding may move an output by, as a share of its largest value: rounding, of other numbers than before.
TOLERANCE = 1e-4


def foldable(program: torch.export.ExportedProgram, network: nn.Module) -> tuple[tuple[str, str], ...]:
    """Pairs of paths, convolution and batch norm: each called once, nobody else reading the convolution's result.

    None where folding them all would move an output by more than `TOLERANCE`.
    """
    owners = {
        spec.arg.name: (spec.target or "").rpartition(".")[0]
        for spec in program.graph_signature.input_specs
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)
    }
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []
    for node in program.graph.nodes:
        owner = _owner(node, owners)
        if owner is None:
            continue
        calls[owner] = calls.get(owner, 0) + 1
        before = node.args[0]
        if "batch_norm" in str(node.target) and isinstance(before, fx.Node) and len(before.users) == 1:
            conv = _owner(before, owners) if "conv" in str(before.target) else None
            if conv is not None and _of_kind(network, conv, nn.Conv2d) and _of_kind(network, owner, nn.BatchNorm2d):
                pairs.append((conv, owner))
    found = tuple((conv, norm) for conv, norm in pairs if calls.get(conv) == calls.get(norm) == 1)
    return found if _is_exact(network, found, program) else ()


def _owner(node: fx.Node, owners: dict[str, str]) -> str | None:
    """The module whose parameters a step of the graph is given."""
    if node.op != "call_function":
        return None
    given = [owners[arg.name] for arg in node.all_input_nodes if arg.name in owners]
    return given[0] if given else None


def _of_kind(network: nn.Module, path: str, kind: type[nn.Module]) -> bool:
    module = network.get_submodule(path)
    return type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks


def _is_exact(network: nn.Module, pairs: tuple[tuple[str, str], ...], program: torch.export.ExportedProgram) -> bool:
    example = program.example_inputs
    if not pairs or example is None:
        return bool(pairs)
    images = torch.randn(example[0][0].shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        try:
            expected, given = network(images), fold(copy.deepcopy(network), pairs)(images)
        except (AttributeError, RuntimeError):  # a module that is not called, but whose parts are read
            return False
    both = zip(_tensors(expected), _tensors(given), strict=True)
    return all(bool((a - b).abs().max() <= TOLERANCE * a.abs().max()) for a, b in both)


def _tensors(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
