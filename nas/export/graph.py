"""A traced network as source: a class whose modules have their own names and whose forward is the graph's code."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from typing import Any

import torch
from torch import fx, nn

from nas.export.errors import ExportError
from nas.export.literals import literal
from nas.export.sources import Sources
from nas.export.standalone import put

CLASS_NAME = "TracedNetwork"
#: A tensor that is no weight stands in the source as numbers; more of them would be a weight in disguise.
MAX_CONSTANTS = 4096
_CLASS = '''\
{aliases}class {name}(nn.Module):
    """{title}: its modules under their own names, its forward pass step by step as torch.fx traced it."""

    def __init__(self, fusions: dict[str, nn.Module]) -> None:
        super().__init__()
{parts}

{forward}
'''
#: What torch.fx puts among a graph's names whether they are used or not.
_COMMON = {"torch": "torch", "inf": 'float("inf")', "nan": 'float("nan")', "device": "torch.device"}


def homes_of(network: fx.GraphModule) -> set[str]:
    """The top-level packages of its modules and functions that are installed nowhere: the user's own files."""
    things = [*(type(module) for _, module in _steps(network)), *_functions(network).values()]
    tops = {str(getattr(thing, "__module__", "torch")).partition(".")[0] for thing in things}
    return tops - set(sys.stdlib_module_names) - set(packages_distributions())


def class_of_graph(network: fx.GraphModule, title: str, points: Iterable[str], sources: Sources) -> str:
    """The source of a class `TracedNetwork(fusions)` that computes what `network` computes and has its weights' names.

    Raises:
        ExportError: a module in it cannot be made anew from its attributes, or the graph holds large constants.
    """
    network = _without_arguments(network)
    fusions = tuple(points)
    store = sources.add(put)
    parts = [f"{store}(self, {literal(name)}, fusions[{literal(name)}])" for name in fusions]
    made = set(fusions)
    for path, module in _steps(network):
        if path not in made:
            made.add(path)
            parts.append(f"{store}(self, {literal(path)}, {_constructor(path, module, sources)})")
    parts += [f"{store}(self, {literal(path)}, {text})" for path, text in _tensors(network, made)]
    body = "\n".join(f"        {part}" for part in parts)
    # Under the graph's own names for them: an imported one might be that of a value in the forward pass.
    aliases = "".join(f"{name} = {sources.add(thing)}\n" for name, thing in _functions(network).items())
    aliases += "\n\n" * bool(aliases)
    text = _CLASS.format(aliases=aliases, name=CLASS_NAME, title=title, parts=body, forward=_forward(network))
    return text.rstrip()


def _steps(network: fx.GraphModule) -> list[tuple[str, nn.Module]]:
    """The modules that the graph calls; those of which it only reads `training` are there as plain ones."""
    found: dict[str, nn.Module] = {}
    for node in network.graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            found.setdefault(target, network.get_submodule(target))
        elif node.op == "get_attr" and target.endswith(".training"):
            owner = target.rpartition(".")[0]
            if not isinstance(network.get_submodule(owner), nn.Sequential):
                found.setdefault(owner, nn.Module())
    # A plain one is made before what stands in it.
    return sorted(found.items(), key=lambda item: type(item[1]) is not nn.Module)


def _functions(network: fx.GraphModule) -> dict[str, Any]:
    """What the code of the graph calls by a global name of its own."""
    code = network.graph.python_code("self")
    used = set(re.findall(r"\b\w+\b", _body(code.src)))
    return {name: thing for name, thing in code.globals.items() if name in used - set(_COMMON)}


def _constructor(path: str, module: nn.Module, sources: Sources) -> str:
    """The call that makes such a module: each parameter of its constructor is the attribute of that name."""
    if type(module) is nn.Module:
        return "nn.Module()"
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if name in ("device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(module, name, parameter.default)
        if isinstance(parameter.default, bool) and not isinstance(value, bool):
            value = value is not None  # `bias=True` is kept as the bias itself, or as None
        if value is parameter.empty:
            raise ExportError(
                f"{path}, a {type(module).__name__}, does not keep its argument {name!r}: make it an attribute"
            )
        if isinstance(value, torch.Tensor | nn.Module):
            raise ExportError(
                f"{path}, a {type(module).__name__}, is made with {name!r}, a {type(value).__name__}, which is no "
                "value that source code can hold: let it make that itself"
            )
        pair = (parameter.default,) * len(value) if isinstance(value, tuple) else parameter.default
        if parameter.default is parameter.empty or (value != parameter.default and value != pair):
            arguments[name] = value
    with torch.random.fork_rng(devices=[]):
        made = type(module)(**arguments)
    if repr(made) != repr(module) or _shapes(made) != _shapes(module):
        raise ExportError(
            f"{path}, a {type(module).__name__}, is not what its arguments {arguments} make: it was changed afterwards"
        )
    text = ", ".join(f"{name}={literal(value)}" for name, value in arguments.items())
    return f"{sources.add(type(module))}({text})"


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _tensors(network: fx.GraphModule, made: set[str]) -> list[tuple[str, str]]:
    """Parameters and buffers that belong to none of the modules that are made."""
    persistent = network.state_dict().keys()
    found = []
    for path, parameter in network.named_parameters():
        if not _inside(path, made):
            found.append((path, f"nn.Parameter({_empty(parameter)})"))
    for path, buffer in network.named_buffers():
        if _inside(path, made):
            continue
        if path in persistent:
            found.append((path, _empty(buffer)))
        elif buffer.numel() > MAX_CONSTANTS:
            raise ExportError(f"{path}, a constant of {buffer.numel()} numbers: let it be a buffer of its module")
        else:
            found.append((path, f"torch.tensor({literal(buffer.tolist())}, dtype={buffer.dtype}), persistent=False"))
    return found


def _inside(path: str, made: set[str]) -> bool:
    parts = path.split(".")
    return any(".".join(parts[:end]) in made for end in range(1, len(parts)))


def _empty(tensor: torch.Tensor) -> str:
    kind = "" if tensor.dtype == torch.float32 else f", dtype={tensor.dtype}"
    return f"torch.empty({literal(tuple(tensor.shape))}{kind})"


def _without_arguments(network: fx.GraphModule) -> fx.GraphModule:
    """Without the arguments that were fixed at their defaults while tracing, and without what guards them."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.graph, {}))
    for argument in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        for user in list(argument.users):
            if all(guard.target is torch._assert for guard in user.users):
                for guard in list(user.users):
                    graph.erase_node(guard)
                graph.erase_node(user)
        if not argument.users:
            graph.erase_node(argument)
    return fx.GraphModule(network, graph)


def _forward(network: fx.GraphModule) -> str:
    text = _body(network.graph.python_code("self").src)
    text = re.sub(r"^def forward\(self, (\w+)[^)]*\):", r"def forward(self, \1: torch.Tensor) -> torch.Tensor:", text)
    for name in ("inf", "nan", "device"):
        text = re.sub(rf"(?<![\w.\"']){name}\b(?!\s*=)", _COMMON[name], text)
    return "\n".join(f"    {line}" if line.strip() else "" for line in text.splitlines()).rstrip()


def _body(code: str) -> str:
    """The function alone, without the `; x = None` that free each value after its last use."""
    text = code[code.index("def forward") :]
    return re.sub(r";  [\w =]+ = None$", "", text, flags=re.MULTILINE)
