"""A traced network by its own code: its author's files travel beside model.py, or its library is imported.

Where a network holds what no short source can say (hooks, lambdas, layers with constructors of their own), the class
that was trained is built by what built it, and only its forward pass, with the fusions, is written out.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import fx, nn

from nas.export.errors import ExportError
from nas.export.graph import CLASS_NAME, aliases_of, constant_of, forward_of
from nas.export.literals import literal
from nas.export.modules import Import
from nas.export.sources import Sources
from nas.export.standalone import adopt, modules_beside, put
from search_spaces.discovery.loading import takes_classes, torchvision_options
from search_spaces.user_code import files_of, text_of
from search_spaces.user_file import load_object

#: The folder beside model.py in which the author's files lie.
CODE_FOLDER = "code"

_CLASS = '''\
{aliases}class {name}(nn.Module):
    """{title}: its own modules, its forward pass step by step as torch.fx traced it."""

    def __init__(self, network: nn.Module, fusions: dict[str, nn.Module]) -> None:
        super().__init__()
        {adopt}(self, network)
{parts}

{forward}
'''


@dataclass(frozen=True)
class Shipped:
    """The class's text, the line before it that imports the author's code, the call that builds the original, the files
    that travel (by their path beside model.py) and the packages that those import."""

    text: str
    before: str
    call: str
    packages: frozenset[str]
    files: Mapping[str, bytes] = field(default_factory=dict)


def shipped(network: fx.GraphModule, reference: str, classes: int, points: list[str], sources: Sources) -> Shipped:
    """`network`, which was traced from what `reference` names, as a class around that original.

    Raises:
        ExportError: a step of it calls a function that has no name in a file.
    """
    place, _, name = reference.rpartition(":")
    files: dict[str, bytes] = {}
    modules: list[str] = []
    if place == "torchvision":
        options = {**torchvision_options(name), "num_classes": classes}
        arguments = ", ".join(f"{key}={literal(value)}" for key, value in options.items())
        library = sources.bring(Import("torchvision", "models", "models"))
        call, packages, folder = f"{library}.get_model({literal(name)}, {arguments})", {"torchvision"}, None
    else:
        found, folder = load_object(reference), Path(place).resolve().parent
        paths = files_of(Path(place).resolve())
        files = {f"{CODE_FOLDER}/{path.relative_to(folder).as_posix()}": text_of(path) for path in paths}
        modules.append(Path(place).stem)
        packages = _packages(files)
        original = f"AUTHOR[{literal(modules[0])}].{name}"
        if isinstance(found, nn.Module):
            call = f"{sources.bring(Import('copy', None, 'copy'))}.deepcopy({original})"
        else:
            call = f"{original}({f'num_classes={classes}' if takes_classes(found) else ''})"

    def named(thing: Any) -> str:
        """A function that the graph calls, by its name in the file that it travels in."""
        file = inspect.getsourcefile(thing) if folder is not None and inspect.isfunction(thing) else None
        if file is None or folder is None or not Path(file).resolve().is_relative_to(folder):
            return sources.add(thing)
        module = ".".join(Path(file).resolve().relative_to(folder).with_suffix("").parts)
        if not thing.__qualname__.isidentifier():
            raise ExportError(f"{thing.__qualname__} of {file} is defined inside another function: move it out")
        modules.append(module)
        return f"AUTHOR[{literal(module)}].{thing.__qualname__}"

    own = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    persistent = network.state_dict().keys()
    parts = [f"{sources.add(put)}(self, {literal(point)}, fusions[{literal(point)}])" for point in points]
    parts += [
        f"{sources.add(put)}(self, {literal(path)}, {constant_of(path, tensor)}, persistent=False)"
        for path, tensor in own
        if path not in persistent and path.startswith("_tensor_constant")
    ]
    text = _CLASS.format(
        aliases=aliases_of(network, named),
        name=CLASS_NAME,
        title=name,
        adopt=sources.add(adopt),
        parts="\n".join(f"        {part}" for part in parts),
        forward=forward_of(network),
    )
    before = ""
    if modules:
        beside, named_modules = sources.add(modules_beside), literal(tuple(dict.fromkeys(modules)))
        before = f'AUTHOR = {beside}(Path(__file__).resolve().with_name("{CODE_FOLDER}"), {named_modules})'
    return Shipped(text.rstrip(), before, call, frozenset(packages), files)


def _packages(files: Mapping[str, bytes]) -> set[str]:
    """What the files import that is neither Python's own nor theirs."""
    tops: set[str] = set()
    for name, content in files.items():
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError):
            raise ExportError(
                f"{Path(name).relative_to(CODE_FOLDER)} would travel and is no Python: mend it, or do not import it"
            ) from None
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                tops.add(node.module.partition(".")[0])
    own = {Path(name).relative_to(CODE_FOLDER).parts[0].removesuffix(".py") for name in files}
    return tops - set(sys.stdlib_module_names) - own - {"torch"}
