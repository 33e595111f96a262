"""A traced network as source: a class whose modules have their own names and whose forward is the graph's code."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import packages_distributions
from typing import Any

import torch
from torch import fx, nn

from nas.export.errors import ExportError
from nas.export.literals import literal
from nas.export.modules import lines_of
from nas.export.sources import Sources
from nas.export.standalone import put, restored

CLASS_NAME = "TracedNetwork"
#: What nn.Module itself keeps among a module's attributes.
_OWN = frozenset(vars(nn.Module()))
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
    everything, network = network, _without_arguments(network)
    fusions = tuple(points)
    store = sources.add(put)
    made = set(fusions)
    parts = [f"{store}(self, {literal(name)}, fusions[{literal(name)}])" for name in fusions]
    plain = []
    for path, module in _steps(network):
        if path in made:
            continue
        text = f"{store}(self, {literal(path)}, {_constructor(path, module, sources)})"
        if type(module) is nn.Module:
            plain.append(text)
        else:
            parts.append(text)
            made.add(path)
    parts = plain + parts  # a plain one is made before what stands in it, a fusion too
    parts += [f"{store}(self, {literal(path)}, {text})" for path, text in _tensors(everything, made)]
    body = "\n".join(f"        {part}" for part in parts)
    aliases = aliases_of(network, sources.add)
    text = _CLASS.format(aliases=aliases, name=CLASS_NAME, title=title, parts=body, forward=forward_of(everything))
    return text.rstrip()


def aliases_of(network: fx.GraphModule, named: Callable[[Any], str]) -> str:
    """Lines before the class: the graph's functions under its own names for them, which are no values of its forward
    pass. `named` gives each function's name in the text."""
    text = "".join(f"{name} = {named(thing)}\n" for name, thing in _functions(_without_arguments(network)).items())
    return text + "\n\n" * bool(text)


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
    return sorted(found.items(), key=lambda item: item[0].count(".") if type(item[1]) is nn.Module else -1)


def _functions(network: fx.GraphModule) -> dict[str, Any]:
    """What the code of the graph calls by a global name of its own."""
    code = network.graph.python_code("self")
    used = set(re.findall(r"\b\w+\b", _body(code.src)))
    return {name: thing for name, thing in code.globals.items() if name in used - set(_COMMON)}


def _constructor(path: str, module: nn.Module, sources: Sources) -> str:
    """Source that makes such a module: a call of its class, or, where that cannot be, what it is put together from.

    Raises:
        ExportError: it has no source, or holds what source cannot say.
    """
    for inner, part in module.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            where = f"{path}.{inner}".rstrip(".")
            raise ExportError(f"{where}, a {type(part).__name__}, has hooks, which no source is made of: take them off")
    if type(module) is nn.Module:
        return "nn.Module()"
    try:
        arguments = _arguments(module)
        text = ", ".join(f"{name}={_value(value, sources)}" for name, value in arguments.items())
        with torch.random.fork_rng(devices=[]):
            made = type(module)(**arguments)
    except Exception:  # a constructor that does more, or wants what is not kept
        return _parts(path, module, sources)
    if repr(made) != repr(module) or _shapes(made) != _shapes(module) or _plain(made) != _plain(module):
        return _parts(path, module, sources)
    return f"{sources.add(type(module))}({text})"


def _arguments(module: nn.Module) -> dict[str, Any]:
    """The arguments of its constructor: each is the attribute of that name. Raises LookupError where one is not."""
    arguments: dict[str, Any] = {}
    # Recurrent layers hand whatever they are given to what they are derived from.
    made_by = nn.RNNBase if isinstance(module, nn.RNNBase) else type(module)
    for name, parameter in inspect.signature(made_by).parameters.items():
        if made_by is nn.RNNBase and name == "mode":
            continue
        if name in ("device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(module, name, parameter.default)
        if isinstance(parameter.default, bool) and not isinstance(value, bool):
            value = value is not None  # `bias=True` is kept as the bias itself, or as None
        if value is parameter.empty or isinstance(value, torch.Tensor | nn.Module):
            raise LookupError(name)
        pair = (parameter.default,) * len(value) if isinstance(value, tuple) else parameter.default
        if parameter.default is parameter.empty or (value != parameter.default and value != pair):
            arguments[name] = value
    return arguments


def _parts(path: str, module: nn.Module, sources: Sources) -> str:
    """The same by its attributes, submodules and tensors."""
    attributes, parts, constants = [], [], []
    for name, value in vars(module).items():
        if name in _OWN:
            continue
        try:
            attributes.append(f"{literal(name)}: {_value(value, sources)}")
        except ExportError:
            raise ExportError(
                f"{path}, a {type(module).__name__}, holds {name!r}, a {type(value).__name__}, which is no value that "
                "source code can hold: let it be numbers, text, or a buffer"
            ) from None
    for name, child in module._modules.items():
        made = "None" if child is None else _constructor(f"{path}.{name}", child, sources)
        parts.append(f"{literal(name)}: {made}")
    for name, parameter in module._parameters.items():
        text = "None" if parameter is None else f"nn.Parameter({_empty(parameter)})"
        parts.append(f"{literal(name)}: {text}")
    for name, buffer in module._buffers.items():
        if buffer is None:
            parts.append(f"{literal(name)}: None")
        elif name in module._non_persistent_buffers_set:
            constants.append(f"{literal(name)}: {constant_of(f'{path}.{name}', buffer)}")
        else:
            parts.append(f"{literal(name)}: {_empty(buffer)}")
    given = ", ".join("{" + ", ".join(entries) + "}" for entries in (attributes, parts, constants))
    return f"{sources.add(restored)}({sources.add(type(module))}, {given})"


def _plain(module: nn.Module) -> dict[str, Any]:
    """Its attributes of numbers and text, and those of all its parts."""
    return {
        f"{path}.{name}": value
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in _OWN and isinstance(value, int | float | str | tuple | None)
    }


def _value(value: Any, sources: Sources) -> str:
    def other(inner: Any) -> str | None:
        if inspect.isclass(inner) or inspect.isfunction(inner) or inspect.isbuiltin(inner):
            return sources.add(inner)
        if type(inner) is partial:
            given = [*map(say, inner.args), *(f"{name}={say(value)}" for name, value in inner.keywords.items())]
            return f"{sources.add(partial)}({', '.join([say(inner.func), *given])})"
        return None

    def say(inner: Any) -> str:
        return literal(inner, other)

    return say(value)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _tensors(network: fx.GraphModule, made: set[str]) -> list[tuple[str, str]]:
    """Parameters and buffers that belong to none of the modules that are made, called or not; one that has two names
    is one."""
    persistent = network.state_dict().keys()
    parameters = dict(network.named_parameters(remove_duplicate=False))
    buffers = dict(network.named_buffers(remove_duplicate=False))
    first: dict[int, str] = {}
    for path in sorted([*parameters, *buffers], key=lambda path: not _inside(path, made)):
        first.setdefault(id(parameters.get(path, buffers.get(path))), path)
    found = []
    for path, parameter in parameters.items():
        if not _inside(path, made):
            again = first[id(parameter)]
            text = f"nn.Parameter({_empty(parameter)})" if again == path else f"self.get_parameter({literal(again)})"
            found.append((path, text))
    for path, buffer in buffers.items():
        if _inside(path, made):
            continue
        if path not in persistent:
            found.append((path, f"{constant_of(path, buffer)}, persistent=False"))
        elif first[id(buffer)] == path:
            found.append((path, _empty(buffer)))
        else:
            found.append((path, f"self.get_buffer({literal(first[id(buffer)])})"))
    # What has another's name is said after that other.
    return sorted(found, key=lambda entry: entry[1].startswith("self."))


def constant_of(path: str, buffer: torch.Tensor) -> str:
    """A tensor that is no weight, as numbers."""
    if buffer.numel() > MAX_CONSTANTS:
        raise ExportError(f"{path}, a constant of {buffer.numel()} numbers: let it be a buffer of its module")
    return f"torch.tensor({literal(buffer.tolist())}, dtype={buffer.dtype})"


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


def forward_of(network: fx.GraphModule) -> str:
    """The source of its forward method."""
    text = _body(_without_arguments(network).graph.python_code("self").src)
    text = re.sub(r"^def forward\(self, (\w+)[^)]*\):", r"def forward(self, \1: torch.Tensor) -> torch.Tensor:", text)
    for name in ("inf", "nan", "device"):
        text = re.sub(rf"(?<![\w.\"']){name}\b(?!\s*=)", _COMMON[name], text)
    return "\n".join(f"    {line}" if line.strip() else "" for line in lines_of(text)).rstrip()


def _body(code: str) -> str:
    """The function alone, without the `; x = None` that free each value after its last use."""
    text = code[code.index("def forward") :]
    return re.sub(r";  [\w =]+ = None$", "", text, flags=re.MULTILINE)
