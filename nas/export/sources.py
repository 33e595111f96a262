"""The definitions that some classes need, collected from their modules into one standalone text.

Whatever a class uses is followed through imports to the statement that defines it; what is installed
apart (torch, the standard library) stays an import. Texts are carried over as they were written,
comments included; only names that would clash are changed.
"""

from __future__ import annotations

import ast
import builtins
import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from nas.export.errors import ExportError
from nas.export.modules import OWN_PACKAGES, Borders, Import, SourceModule, nested_imports
from nas.export.rewriting import Edit, apply, rename_header, without_operand
from nas.export.scopes import Reference, bound_names, locally_bound, references

#: Decorators that make an operator known to this package: of no use outside it.
_STRIPPED = {("search_spaces.fusions.registry", "register")}


@dataclass(eq=False)
class Definition:
    """A top-level statement of a module, without our own decorators."""

    source: SourceModule
    statement: ast.stmt
    dropped_lines: frozenset[int]
    uses: list[Reference]

    @property
    def names(self) -> set[str]:
        return bound_names([self.statement])


@dataclass(frozen=True)
class Target:
    """What a reference means: a carried definition's name, or an import; `length` parts of its chain name it."""

    definition: Definition | None
    imported: Import | None
    name: str
    length: int


class Sources:
    """Collects definitions from `add`ed classes and functions; `imports()` and `text()` give the result."""

    def __init__(
        self, carried_packages: Iterable[str] = (), reserved: Iterable[str] = (), imports: Iterable[Import] = ()
    ) -> None:
        """Of `carried_packages` the source is carried; `reserved` names stay free; `imports` are there anyway."""
        self._borders = Borders(frozenset({*OWN_PACKAGES, *carried_packages}))
        self._modules: dict[str, SourceModule] = {}
        self._definitions: dict[ast.stmt, Definition] = {}
        self._reached: list[Definition] = []
        self._taken: dict[str, object] = dict.fromkeys({*dir(builtins), *reserved}, None)
        self._output: dict[object, str] = {}
        self._imports: dict[object, Import] = {}
        for imported in imports:
            self._name_of(Target(None, imported, imported.name, 1))

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
        if not self._borders.carries(module):
            public = "torch.nn" if getattr(torch.nn, name, None) is thing else module
            return self._name_of(Target(None, Import(public, name, name), name, 1))
        target = self._resolve(self._module(module), (name,))
        if target is None or target.definition is None:
            raise ExportError(f"no source of {name} in module {module!r}: define it there with a class statement")
        self._reach(target.definition)
        return self._name_of(target)

    @property
    def packages(self) -> list[str]:
        """The packages outside the standard library that the text imports; usually torch alone."""
        tops = {imported.module.partition(".")[0] for imported in self._imports.values()}
        return sorted(tops - set(sys.stdlib_module_names), key=lambda top: (top != "torch", top))

    def imports(self) -> list[Import]:
        return list(self._imports.values())

    def text(self) -> list[str]:
        """One block of source a definition, each after those it needs when it is imported."""
        self._reach_annotations()
        ordered: list[Definition] = []
        for definition in self._reached:
            self._place(definition, ordered, set())
        return [self._render(definition) for definition in ordered]

    # Following names to their definitions

    def _module(self, name: str) -> SourceModule:
        if name not in self._modules:
            self._modules[name] = SourceModule.read(name)
        return self._modules[name]

    def _resolve(self, source: SourceModule, chain: Sequence[str], skipped: int = 0) -> Target | None:
        name = chain[0]
        if name in source.imports:
            return self._resolve_import(source.imports[name], chain, skipped)
        if name in source.statements:
            return Target(self._definition(source, source.statements[name]), None, name, skipped + 1)
        # A star import or a lazy package: ask the running module where the thing comes from.
        value = getattr(source.module, name, None)
        if isinstance(value, ModuleType):
            return self._resolve_import(Import(value.__name__, None, name), chain, skipped)
        home, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if not isinstance(home, str) or not isinstance(own_name, str) or home in (source.name, "builtins"):
            return None
        return self._resolve_import(Import(home, own_name, own_name), chain, skipped)

    def _resolve_import(self, imported: Import, chain: Sequence[str], skipped: int) -> Target | None:
        if not self._borders.carries(imported.module):
            return Target(None, imported, imported.name, skipped + 1)
        if imported.attribute is not None:
            module = self._module(imported.module)
            if not isinstance(getattr(module.module, imported.attribute, None), ModuleType):
                target = self._resolve(module, (imported.attribute,))
                return target and Target(target.definition, target.imported, target.name, skipped + 1)
            inner = f"{imported.module}.{imported.attribute}"
        else:
            root = imported.module.partition(".")[0]  # what a plain `import a.b` binds
            inner = root if imported.name == root else imported.module
        if len(chain) == 1:
            raise ExportError(f"module {inner!r} is used as a value: import what is needed from it by name")
        module = self._module(inner)
        if chain[1] not in {*module.statements, *module.imports} and isinstance(
            getattr(module.module, chain[1], None), ModuleType
        ):
            return self._resolve_import(Import(inner, chain[1], chain[1]), chain[1:], skipped + 1)
        return self._resolve(module, chain[1:], skipped + 1)

    def _definition(self, source: SourceModule, statement: ast.stmt) -> Definition:
        if statement not in self._definitions:
            kept, dropped = self._without_own_decorators(source, statement)
            self._definitions[statement] = Definition(source, kept, dropped, references(kept))
        return self._definitions[statement]

    def _without_own_decorators(self, source: SourceModule, statement: ast.stmt) -> tuple[ast.stmt, frozenset[int]]:
        if not isinstance(statement, ast.ClassDef | ast.FunctionDef):
            return statement, frozenset()
        kept, dropped = [], set[int]()
        for decorator in statement.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            used = references(ast.Expr(called))
            target = self._resolve(source, used[0].chain) if used else None
            if target and target.definition and (target.definition.source.name, target.name) in _STRIPPED:
                dropped.update(range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1))
            else:
                kept.append(decorator)
        stripped = copy.copy(statement)
        stripped.decorator_list = kept
        return stripped, frozenset(dropped)

    # What is reached, in which order

    def _reach(self, definition: Definition) -> None:
        if definition in self._reached:
            return
        package = definition.source.module.__package__ or ""
        for imported in nested_imports(definition.statement, package):
            if self._borders.carries(imported.module):
                raise ExportError(
                    f"{_where(definition)} imports {imported.module} in its body: move that import to the module's top"
                )
        self._reached.append(definition)
        for use in definition.uses:
            target = self._resolve(definition.source, use.chain)
            if target is not None and not (use.annotation and _is_class(target.definition)):
                self._use(target)

    def _use(self, target: Target) -> None:
        if target.definition is not None:
            self._reach(target.definition)
        self._name_of(target)

    def _reach_annotations(self) -> None:
        """A class that is only ever an annotation is carried, unless it can be left out of a union."""
        for definition in self._reached:  # grows while it is walked
            for use in definition.uses:
                target = self._resolve(definition.source, use.chain) if use.annotation else None
                if target is not None and not self._can_drop(definition, use):
                    self._use(target)

    def _can_drop(self, definition: Definition, use: Reference) -> bool:
        if use.operand is None or not self._unreached(definition, use):
            return False
        union, _ = use.operand
        dropped = {
            other.operand[1]
            for other in definition.uses
            if other.operand and other.operand[0] is union and self._unreached(definition, other)
        }
        return len(dropped) < len(union.operands)

    def _unreached(self, definition: Definition, use: Reference) -> bool:
        target = self._resolve(definition.source, use.chain)
        return target is not None and _is_class(target.definition) and target.definition not in self._reached

    def _place(self, definition: Definition, ordered: list[Definition], visiting: set[Definition]) -> None:
        if definition in ordered or definition in visiting:
            return
        visiting.add(definition)
        # First what must exist when this statement runs, then what reads best above it.
        for use in sorted(definition.uses, key=lambda use: not use.eager):
            target = self._resolve(definition.source, use.chain)
            if target is None or target.definition not in self._reached or target.definition is None:
                continue
            if use.eager or not self._needs(target.definition, definition, set()):
                self._place(target.definition, ordered, visiting)
        if definition not in ordered:
            ordered.append(definition)

    def _needs(self, definition: Definition, other: Definition, seen: set[Definition]) -> bool:
        """Does `definition`, or anything placed above it, need `other` at import?"""
        if definition in seen:
            return False
        seen.add(definition)
        for use in definition.uses:
            target = self._resolve(definition.source, use.chain)
            if target is None or target.definition is None:
                continue
            if (use.eager and target.definition is other) or self._needs(target.definition, other, seen):
                return True
        return False

    # Names and text

    def _name_of(self, target: Target) -> str:
        if target.definition is not None:
            owner: object = (target.definition.source.name, target.name)
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

    def _render(self, definition: Definition) -> str:
        edits: list[Edit] = []
        hidden = locally_bound(definition.statement)
        for use in definition.uses:
            target = self._resolve(definition.source, use.chain)
            if target is None:
                continue
            if use.annotation and use.operand and self._unreached(definition, use):
                union, index = use.operand
                gone = {
                    other.operand[1]
                    for other in definition.uses
                    if other.operand and other.operand[0] is union and self._unreached(definition, other)
                }
                edits.append(without_operand(union, index, gone))
                continue
            written, name = ".".join(use.chain[: target.length]), self._name_of(target)
            if written == name:
                continue
            if name in hidden or not use.nodes:
                raise ExportError(f"{written} in {_where(definition)} cannot be written as {name}: rename one of them")
            edits.append(Edit.of(use.nodes[target.length - 1], name, written))
        statement = definition.statement
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            own = self._output[(definition.source.name, statement.name)]
            if own != statement.name:
                edits.append(rename_header(statement, definition.source.lines, own))
        return apply(definition.source.lines, statement, definition.dropped_lines, edits, _where(definition))


def _is_class(definition: Definition | None) -> bool:
    return definition is not None and isinstance(definition.statement, ast.ClassDef)


def _where(definition: Definition) -> str:
    return f"{definition.source.name}:{definition.statement.lineno}"
