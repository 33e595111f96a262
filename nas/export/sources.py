"""The definitions that some classes need, collected from their modules into one standalone text.

Whatever a class uses is followed through imports to the statements that define it, and to those that change what they
define; what is installed apart (torch, the standard library) stays an import. Texts are carried over as they were
written, comments included; only names that would clash are changed.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch

from nas.export.errors import ExportError
from nas.export.modules import Import, SourceModule, Statement, Use, is_carried, nested_imports

#: What makes an operator known to this package: of no use outside it.
_STRIPPED = ("search_spaces.fusions.registry", "register")


@dataclass(frozen=True)
class Target:
    """What a use means: a name that a carried module defines, or an import; `length` parts of its chain name it."""

    source: SourceModule | None
    imported: Import | None
    name: str
    length: int


class Sources:
    """Collects definitions from `add`ed classes and functions; `imports()` and `text()` give the result."""

    def __init__(
        self, carried_packages: Iterable[str] = (), reserved: Iterable[str] = (), imports: Iterable[Import] = ()
    ) -> None:
        """Of `carried_packages` the source is carried; `reserved` names stay free; `imports` are there anyway."""
        packages = frozenset(carried_packages)
        self._carries: Callable[[str], bool] = cache(lambda module: is_carried(module, packages))
        self._module: Callable[[str], SourceModule] = cache(SourceModule.read)
        self._reached: dict[Statement, list[tuple[Use, Target]]] = {}
        self._taken: dict[str, object] = dict.fromkeys({*dir(builtins), *reserved}, None)
        self._output: dict[object, str] = {}
        self._imports: dict[object, Import] = {}
        for imported in imports:
            self.bring(imported)

    def add(self, thing: Callable[..., Any]) -> str:
        """Collect a class or function, or the import of an installed one; its name in the collected text.

        Raises:
            ExportError: it is defined inside a function, or its source cannot be read.
        """
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", repr(thing))
        if module is None or not name.isidentifier():
            raise ExportError(
                f"{name} is not defined at the top level of a module: move it there, so that its source can be exported"
            )
        if not self._carries(module):
            public = "torch.nn" if getattr(torch.nn, name, None) is thing else module
            return self.bring(Import(public, name, name))
        target = self._resolve(self._module(module), (name,))
        if target is None or target.source is None:
            raise ExportError(f"no source of {name} in module {module!r}: define it there with a class statement")
        self._reach(target)
        return self._name_of(target)

    def bring(self, imported: Import) -> str:
        """Have an import in the text; the name that it binds."""
        return self._name_of(Target(None, imported, imported.name, 1))

    @property
    def packages(self) -> list[str]:
        """The packages outside the standard library that the text imports; usually torch alone."""
        tops = {imported.module.partition(".")[0] for imported in self._imports.values()}
        return sorted(tops - set(sys.stdlib_module_names), key=lambda top: (top != "torch", top))

    def imports(self) -> list[Import]:
        return list(self._imports.values())

    def text(self) -> list[str]:
        """One block of source a statement, in the order in which Python ran them."""
        order: list[SourceModule] = []
        for statement in self._reached:
            self._place(statement.source, order, set())
        ranks = {source: rank for rank, source in enumerate(order)}
        ordered = sorted(self._reached, key=lambda one: (ranks[one.source], one.node.lineno))
        return [self._render(statement) for statement in ordered]

    # Following names to their definitions

    def _resolve(self, source: SourceModule, chain: Sequence[str], skipped: int = 0) -> Target | None:
        name = chain[0]
        if name in source.imports:
            return self._resolve_import(source, source.imports[name], chain, skipped)
        if source.binding(name):
            return Target(source, None, name, skipped + 1)
        # A star import or a lazy package: ask the running module where the thing comes from.
        value = getattr(source.module, name, None)
        if isinstance(value, ModuleType):
            return self._resolve_import(source, Import(value.__name__, None, name), chain, skipped)
        home, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if not isinstance(home, str) or not isinstance(own_name, str) or home in (source.name, "builtins"):
            return None
        return self._resolve_import(source, Import(home, own_name, own_name), chain, skipped)

    def _resolve_import(
        self, source: SourceModule, imported: Import, chain: Sequence[str], skipped: int
    ) -> Target | None:
        if not self._carries(source.known_as(imported.module)):
            return Target(None, imported, imported.name, skipped + 1)
        if imported.attribute is not None:
            module = self._module(source.known_as(imported.module))
            if not isinstance(getattr(module.module, imported.attribute, None), ModuleType):
                target = self._resolve(module, (imported.attribute,))
                return target and Target(target.source, target.imported, target.name, skipped + 1)
            inner = f"{imported.module}.{imported.attribute}"
        else:
            root = imported.module.partition(".")[0]  # what a plain `import a.b` binds
            inner = root if imported.name == root else imported.module
        if len(chain) == 1:
            raise ExportError(f"module {inner!r} is used as a value: import what is needed from it by name")
        module = self._module(source.known_as(inner))
        part = getattr(module.module, chain[1], None)
        if isinstance(part, ModuleType) and chain[1] not in module.imports and not module.binding(chain[1]):
            return self._resolve_import(source, Import(inner, chain[1], chain[1]), chain[1:], skipped + 1)
        return self._resolve(module, chain[1:], skipped + 1)

    # What is reached, in which order

    def _reach(self, target: Target) -> None:
        assert target.source is not None
        for statement in target.source.behind(target.name):
            if statement not in self._reached and not self._registers(statement):
                self._follow(statement)

    def _follow(self, statement: Statement) -> None:
        for imported in nested_imports(statement.node, statement.source.module.__package__ or ""):
            if self._carries(statement.source.known_as(imported.module)):
                raise ExportError(
                    f"{statement.where} imports {imported.module} in its body: move that import to the module's top"
                )
        stripped = {id(part) for decorator in self._stripped(statement) for part in ast.walk(decorator)}
        found = self._reached[statement] = []
        for use in statement.uses:
            target = None if use.nodes and id(use.nodes[0]) in stripped else self._resolve(statement.source, use.chain)
            if target is not None:
                found.append((use, target))
                if target.source is not None:
                    self._reach(target)
                self._name_of(target)
        for name in sorted(statement.binds):
            self._name_of(Target(statement.source, None, name, 1))

    def _stripped(self, statement: Statement) -> list[ast.expr]:
        decorators: list[ast.expr] = getattr(statement.node, "decorator_list", [])
        return [decorator for decorator in decorators if self._is_ours(statement.source, decorator)]

    def _registers(self, statement: Statement) -> bool:
        """A call such as `register("name")(Operator)`."""
        node = statement.node
        return isinstance(node, ast.Expr) and self._is_ours(statement.source, node.value)

    def _is_ours(self, source: SourceModule, called: ast.expr) -> bool:
        while isinstance(called, ast.Call):
            called = called.func
        names = ast.unparse(called).split(".")
        target = self._resolve(source, names) if names[0] in source.imports else None
        return target is not None and target.source is not None and (target.source.name, target.name) == _STRIPPED

    def _place(self, source: SourceModule, order: list[SourceModule], visiting: set[SourceModule]) -> None:
        """Put a module behind those that it uses."""
        if source in order or source in visiting:
            return
        visiting.add(source)
        for statement, uses in self._reached.items():
            if statement.source is source:
                for _, target in uses:
                    if target.source is not None:
                        self._place(target.source, order, visiting)
        order.append(source)

    # Names and text

    def _name_of(self, target: Target) -> str:
        if target.source is not None:
            owner: object = (target.source.name, target.name)
        else:
            assert target.imported is not None
            imported = target.imported
            plain = imported.attribute is None and imported.name == imported.module.partition(".")[0]
            # `import torch` and `import torch.nn` share the name torch.
            owner = ("import", imported.name) if plain else (imported.module, imported.attribute)
            self._imports.setdefault((owner, imported.module), imported)
        if owner not in self._output:
            name, number = target.name, 1
            while name in self._taken:
                number += 1
                name = f"{target.name}_{number}"
            self._taken[name] = owner
            self._output[owner] = name
            if target.imported is not None and name != target.name:
                renamed = Import(target.imported.module, target.imported.attribute, name)
                self._imports[(owner, target.imported.module)] = renamed
        return self._output[owner]

    def _render(self, statement: Statement) -> str:
        """The statement's lines, the comment right above it included, with other names where they would clash."""
        lines, node = statement.source.lines, statement.node
        first, last = statement.first_line, node.end_lineno or node.lineno
        text = {number: lines[number - 1].encode() for number in range(first, last + 1)}
        edits: dict[tuple[int, int], tuple[ast.expr, str, str]] = {}
        for use, target in self._reached[statement]:
            written, name = ".".join(use.chain[: target.length]), self._name_of(target)
            if written != name:
                if name in statement.hidden or use.chain[0] in statement.hidden or not use.nodes:
                    raise ExportError(f"{written} in {statement.where} cannot be written as {name}: rename one of them")
                found = use.nodes[target.length - 1]
                edits[found.lineno, found.col_offset] = found, written, name
        # From the end backwards, so that earlier places stay where they are.
        for _, (found, written, name) in sorted(edits.items(), reverse=True):
            _replace(text, found, written, name, statement.where)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            own = self._output[(statement.source.name, node.name)]
            head = rf"\b(class|def)(\s+){re.escape(node.name)}\b".encode()
            text[node.lineno] = re.sub(head, rf"\1\2{own}".encode(), text[node.lineno], count=1)
        for decorator in self._stripped(statement):
            for number in range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1):
                del text[number]
        comments: list[str] = []
        while first > 1 and lines[first - 2].startswith("#"):
            first -= 1
            comments.insert(0, lines[first - 1])
        return "\n".join([*comments, *(text[number].decode() for number in sorted(text))])


def _replace(text: dict[int, bytes], found: ast.expr, written: str, name: str, where: str) -> None:
    line, end = text[found.lineno], found.end_col_offset
    if found.end_lineno != found.lineno or line[found.col_offset : end].decode() != written:
        # Before Python 3.12, names inside an f-string have no exact place.
        raise ExportError(f"{written} at {where} cannot be renamed in its text: give it a name of its own")
    text[found.lineno] = line[: found.col_offset] + name.encode() + line[end:]
