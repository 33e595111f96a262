"""An ordinary network as a graph: torch.fx, faithful in training too, and open about what it could not enter.

Plain `torch.fx` has four habits that would change a user's network without a word, and each is met here:
`x += y` becomes out-of-place (here it stays in place), `self.training` is frozen as it was while tracing (here
both modes are traced, and what differs is read from the module when the network runs), a branch on a shape
raises (here it is decided and noted where it is the same at every size that was tried), and one untraceable module
spoils the whole network (here it is kept whole, as one step, with the reason). What a forward does beside computing its
result keeps it whole too: see `steadiness`.
"""

from __future__ import annotations

import inspect
import operator
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from search_spaces.discovery.plain import copied
from search_spaces.discovery.probing import Probe, other_sizes
from search_spaces.discovery.steadiness import Context, Watch, context, hooked, own_modes, random_states_kept
from search_spaces.errors import SpaceError

#: One execution of a module's forward: its path and the number of calls of it before.
Frame = tuple[str, int]
Event = tuple[str, ...]

_IN_PLACE = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor")


_HINT = "(hint: move that part into a submodule of its own, which is then kept whole)"


class Untraceable(Exception):
    """A module whose forward the tracer could not follow, or must not: why, in full."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


class _Value(fx.Proxy):
    """A proxy for which `x += y` is in place, as it is for tensors."""


def _define_in_place(name: str) -> None:
    target = getattr(operator, name)

    def method(self: _Value, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", target, (self, other), {})

    setattr(_Value, f"__{name}__", method)


for _name in _IN_PLACE:
    if _name != "ixor":  # torch.fx writes no code for ^=
        _define_in_place(_name)


class _Tracer(fx.Tracer):
    """Records in which frame each node arose, and what happened in each frame, so that two traces can be compared."""

    proxy_buffer_attributes = True  # a buffer is read when the network runs, and not written to while it is traced

    def __init__(self, model: nn.Module, example: torch.Tensor, whole: Mapping[str, str]) -> None:
        super().__init__()
        self.example = example
        self.whole = whole
        self.calls: Counter[str] = Counter()
        self.frames: list[Frame] = [("", 0)]
        self.contexts: list[Context] = [context()]
        self.events: dict[Frame, list[Event]] = defaultdict(list)
        self.decided: dict[str, None] = {}
        model = copied(type(model).__name__, model)
        self._probe = Probe(model, tuple(example.shape), example.dtype)
        self._others = [Probe(model, shape, example.dtype) for shape in other_sizes(example.shape)]
        self._evaluating = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.whole:
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._evaluating:
            return forward(*args, **kwargs)
        path = self._path(m)
        followed = not self.is_leaf_module(m, path)
        if followed and (why := hooked(m) or own_modes(m)):
            raise Untraceable(path, why)
        watch = Watch(m) if followed else None
        self.events[self.frames[-1]].append(("call", path))
        self.frames.append((path, self.calls[path]))
        self.contexts.append(context())
        self.events[self.frames[-1]] = []
        self.calls[path] += 1
        try:
            result = super().call_module(m, forward, args, kwargs)
            if watch is not None and (why := watch.found()):
                raise Untraceable(path, why)
        except Untraceable:
            raise
        except Exception as error:
            raise Untraceable(path, _cannot(error)) from error
        finally:
            self.frames.pop()
            self.contexts.pop()
            if watch is not None:
                watch.put_back()
        return result

    def _path(self, m: nn.Module) -> str:
        try:
            return str(self.path_of_module(m))
        except NameError:
            raise Untraceable(
                self.frames[-1][0], f"its forward calls a {type(m).__name__} that is no submodule of it"
            ) from None

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._evaluating:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if self.contexts[0] != context() and args[0] != "get_attr":
            # The innermost frame that was entered in the outermost context is the one that left it.
            inner = max(index for index, entered in enumerate(self.contexts) if entered == self.contexts[0])
            raise Untraceable(
                self.frames[inner][0],
                "its forward runs a part under torch.no_grad, torch.autocast or the like, which a graph does not hold",
            )
        node: fx.Node = super().create_node(*args, **kwargs)
        node.meta["frame"] = self.frames[-1]
        node.meta["caller"] = self.frames[-2 if node.op == "call_module" else -1][0]
        target = "constant" if str(node.target).startswith("_tensor_constant") else repr(node.target)
        self.events[self.frames[-1]].append((node.op, target, _shape_of(node.args), _shape_of(node.kwargs)))
        return node

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def create_arg(self, a: Any) -> Any:
        if type(a) is OrderedDict:
            return self.create_proxy("call_function", OrderedDict, (list(a.items()),), {}).node
        if isinstance(a, torch.Tensor) and a.requires_grad and not isinstance(a, nn.Parameter):
            raise Untraceable(
                self.frames[-1][0], "its forward computes with parameters that it does not read by their own names"
            )
        return super().create_arg(a)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Decide a branch by the example's shapes; tensors are fake here, so values cannot decide one."""
        value = bool(self._evaluate(self._probe, obj.node, decide=True))
        self._same_elsewhere(obj.node, value, decide=True)
        where = self.frames[-1][0] or "the forward pass"
        shape = "x".join(map(str, self.example.shape))
        self.decided[f"{where}: a branch was decided ({value}) for inputs of shape {shape}"] = None
        return value

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        value = self._evaluate(self._probe, obj.node)
        if not isinstance(value, list | tuple):
            raise TypeError("a loop over a tensor, whose length is known only when it runs")
        self._same_elsewhere(obj.node, len(value), decide=False)
        items: Any = obj
        return iter([items[index] for index in range(len(value))])

    def _same_elsewhere(self, node: fx.Node, here: Any, *, decide: bool) -> None:
        """Raises Untraceable where a network that runs on another size takes another way there."""
        for probe in list(self._others):
            try:
                there = self._evaluate(probe, node, decide=decide)
            except TypeError:  # it does not take such inputs
                self._others.remove(probe)
                continue
            if (there if decide else len(there)) != here:
                shapes = ["x".join(map(str, shape)) for shape in (self.example.shape, probe.shape)]
                raise Untraceable(
                    self.frames[-1][0],
                    f"its forward takes other steps for inputs of {shapes[1]} than of {shapes[0]}",
                )

    def _evaluate(self, probe: Probe, wanted: fx.Node, decide: bool = False) -> Any:
        self._evaluating = True
        try:
            return probe.decision(self.graph, wanted) if decide else probe.value(self.graph, wanted)
        except Exception as error:
            raise TypeError(
                f"a branch or loop that depends on the values of a tensor ({type(error).__name__})"
            ) from error
        finally:
            self._evaluating = False


@dataclass(frozen=True)
class Traced:
    """A network as a graph over `root`, a copy of it.

    `whole` gives the reason for each module that is one step of the graph although it is not a layer of torch.nn;
    `decided` names the branches that were decided for the example's shapes, `input_shape` [B, C, H, W] and `dtype`.
    """

    root: nn.Module
    graph: fx.Graph
    whole: Mapping[str, str]
    decided: tuple[str, ...]
    input_shape: tuple[int, ...]
    dtype: torch.dtype


def trace(model: nn.Module, example: torch.Tensor) -> Traced:
    """The graph of `model`, true in training and in evaluation. `model` itself is left as it is.

    Args:
        model: takes one tensor; other arguments of its forward keep their defaults.
        example: [B, C, H, W].

    Raises:
        SpaceError: the outermost forward itself cannot be traced, or is another one in training.
    """
    root = copied(type(model).__name__, model)
    if why := hooked(root) or own_modes(root):
        raise SpaceError(
            f"{type(model).__name__} cannot be searched: {why} (hint: take that off, or into a submodule, which is "
            "then kept whole)"
        )
    modes = {path: module.training for path, module in root.named_modules()}
    whole: dict[str, str] = {}
    while True:
        try:
            set_modes(root, dict.fromkeys(modes, False))
            quiet = _trace(root, example, whole)
            set_modes(root, dict.fromkeys(modes, True))
            busy = _trace(root, example, whole)
        except Untraceable as error:
            path, reason, alike = error.path, error.reason, []
        else:
            paths = _differing(quiet.events, busy.events)
            different = max(paths, key=lambda path: path.count(".") if path else -1, default=None)
            if different is None:
                different = _rewired(quiet.graph, busy.graph)
            if different is None:
                break
            path, reason = different, "its forward takes other steps in training than in evaluation"
            alike = _alike(root, path, paths)
        if not path or path in whole:
            raise SpaceError(
                f"{type(model).__name__} cannot be searched: {path or 'the outermost forward'}: {reason} {_HINT}"
            )
        whole |= dict.fromkeys([path, *alike], reason)
    set_modes(root, modes)
    _follow_training(quiet.graph, busy.graph)
    decided = tuple({**quiet.decided, **busy.decided})
    return Traced(root, quiet.graph, whole, decided, tuple(example.shape), example.dtype)


def set_modes(root: nn.Module, modes: Mapping[str, bool]) -> None:
    """Set each named module's training flag; unlike `train()`, nothing of a module's own runs."""
    for path, module in root.named_modules():
        if path in modes:
            module.training = modes[path]


def _trace(root: nn.Module, example: torch.Tensor, whole: Mapping[str, str]) -> _Tracer:
    parameters = list(inspect.signature(root.forward).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    defaults = {p.name: p.default for p in parameters[1:] if p.kind in plain and p.default is not p.empty}
    try:
        # With gradients, so that what a forward computes without them shows.
        with torch.enable_grad(), random_states_kept():
            tracer, watch = _Tracer(root, example, whole), Watch(root)
            try:
                tracer.trace(root, concrete_args=defaults or None)
                why = watch.found()
            finally:
                watch.put_back()
    except Untraceable:
        raise
    except Exception as error:
        raise Untraceable("", _cannot(error)) from error
    if why:
        raise Untraceable("", why)
    return tracer


def _differing(quiet: Mapping[Frame, list[Event]], busy: Mapping[Frame, list[Event]]) -> list[str]:
    """The modules whose own steps differ between the two traces; the outermost where it is in nobody's own steps."""
    paths = [path for path, call in {**quiet, **busy} if quiet.get((path, call)) != busy.get((path, call))]
    # A module that runs in one of the two only is its caller's difference.
    both = {path for path, _ in quiet} & {path for path, _ in busy}
    return [path for path in dict.fromkeys(paths) if path in both] or [""] * bool(paths)


def _alike(root: nn.Module, path: str, paths: list[str]) -> list[str]:
    """Of `paths` those of the class that `path` has, and with none of the others inside: a network of a hundred norms
    that count their batches would be traced two hundred times where each is met alone."""
    kind = type(root.get_submodule(path))
    same = [other for other in paths if other and type(root.get_submodule(other)) is kind]
    return [other for other in same if not any(inner.startswith(f"{other}.") for inner in paths)]


def _rewired(quiet: fx.Graph, busy: fx.Graph) -> str | None:
    """The module that gives the same steps other values in training than in evaluation."""
    places = [{node: index for index, node in enumerate(graph.nodes)} for graph in (quiet, busy)]
    for node, other in zip(quiet.nodes, busy.nodes, strict=True):
        first, second = (
            [place[source] for source in _sources(step)] for step, place in zip((node, other), places, strict=True)
        )
        if first != second:
            return str(node.meta["caller"]) if "caller" in node.meta else ""
    return None


def _sources(node: fx.Node) -> list[fx.Node]:
    """The nodes among its arguments, in order and as often as they stand there."""
    found: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), found.append)
    return found


def _follow_training(quiet: fx.Graph, busy: fx.Graph) -> None:
    """Where an argument is False in evaluation and True in training, let it follow its module's `training`."""
    for node, other in zip(list(quiet.nodes), list(busy.nodes), strict=True):
        path = node.meta["frame"][0]

        def follow(first: Any, second: Any, node: fx.Node = node, path: str = path) -> Any:
            if isinstance(first, bool) and isinstance(second, bool) and first != second:
                with quiet.inserting_before(node):
                    training = quiet.create_node("get_attr", f"{path}.training".lstrip("."))
                    training.meta["frame"] = node.meta["frame"]
                    if first:
                        training = quiet.call_function(operator.not_, (training,))
                        training.meta["frame"] = node.meta["frame"]
                return training
            if isinstance(first, tuple | list):
                return type(first)(follow(a, b) for a, b in zip(first, second, strict=True))
            if isinstance(first, dict):
                return {key: follow(value, second[key]) for key, value in first.items()}
            return first

        if node.op in ("call_function", "call_method", "call_module"):
            node.args = follow(tuple(node.args), tuple(other.args))
            node.kwargs = follow(dict(node.kwargs), dict(other.kwargs))


def _shape_of(argument: Any) -> str:
    """An argument as text in which every node is alike and so are True and False."""
    if isinstance(argument, fx.Node):
        return "%"
    if isinstance(argument, bool):
        return "bool"
    if isinstance(argument, tuple | list):
        return "(" + ",".join(map(_shape_of, argument)) + ")"
    if isinstance(argument, dict):
        return "{" + ",".join(f"{key}:{_shape_of(value)}" for key, value in argument.items()) + "}"
    if isinstance(argument, slice):
        return _shape_of((argument.start, argument.stop, argument.step))
    return repr(argument)


def _cannot(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". ")[0]
    return f"torch.fx cannot follow its forward: {type(error).__name__}: {text[:160]}"
