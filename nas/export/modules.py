"""Modules as text: what binds each of their names, and whose source an export carries with it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from nas.export.errors import ExportError
from nas.export.scopes import bound_names

#: Our own rooms: never imported by an export.
OWN_PACKAGES = ("search_spaces", "trials", "reports", "nas")


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds: `from module import attribute as name`, or `import module as name`.

    `import a.b`, which binds `a`, has module `a.b`, no attribute and the name `a`.
    """

    module: str
    attribute: str | None
    name: str

    @property
    def statement(self) -> str:
        if self.attribute is None:
            plain = self.name == self.module.partition(".")[0]
            return f"import {self.module}" if plain else f"import {self.module} as {self.name}"
        renamed = "" if self.name == self.attribute else f" as {self.name}"
        return f"from {self.module} import {self.attribute}{renamed}"


@dataclass(eq=False)
class SourceModule:
    """A module's text, tree, and the top-level statement or import behind each of its names."""

    name: str
    module: ModuleType
    lines: list[str]
    tree: ast.Module
    statements: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> SourceModule:
        """Raises ExportError when the module has no source, as in a notebook or an extension."""
        try:
            module = importlib.import_module(name)
            text = inspect.getsource(module)
            parsed = cls(name, module, text.splitlines(), ast.parse(text))
        except (ImportError, OSError, TypeError, SyntaxError):
            raise ExportError(
                f"the source of module {name!r} cannot be read: define what the network needs in a .py file"
            ) from None
        for statement in parsed.tree.body:
            parsed._bind(statement)
        return parsed

    def _bind(self, statement: ast.stmt) -> None:
        for imported in _imports(statement, self._package):
            self.imports[imported.name] = imported
        for name in bound_names([statement]):
            if name not in self.imports:
                self.statements[name] = statement  # the last one wins, as in Python

    @property
    def _package(self) -> str:
        return self.module.__package__ or ""


def _imports(statement: ast.stmt, package: str) -> Iterator[Import]:
    if isinstance(statement, ast.If | ast.Try):  # TYPE_CHECKING, optional imports
        children: Iterable[ast.AST] = ast.iter_child_nodes(statement)
        for child in children:
            if isinstance(child, ast.stmt):
                yield from _imports(child, package)
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            parent, _, last = alias.name.rpartition(".")
            if alias.asname is None:
                yield Import(alias.name, None, alias.name.partition(".")[0])
            elif parent:
                yield Import(parent, last, alias.asname)
            else:
                yield Import(alias.name, None, alias.asname)
    elif isinstance(statement, ast.ImportFrom):
        source = "." * statement.level + (statement.module or "")
        module = importlib.util.resolve_name(source, package)
        for alias in statement.names:
            if alias.name != "*":  # its names are found in the running module
                yield Import(module, alias.name, alias.asname or alias.name)


def nested_imports(statement: ast.stmt, package: str) -> Iterator[Import]:
    """The imports inside a statement, such as in a function's body."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node, package)


@dataclass(frozen=True)
class Borders:
    """Which modules' source an export carries (ours, the user's) and which it imports (torch, installed ones)."""

    carried_packages: frozenset[str]

    def carries(self, module: str) -> bool:
        top = module.partition(".")[0]
        if top in self.carried_packages or top == "__main__":
            return True
        if top == "torch" or top in sys.stdlib_module_names:
            return False
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        places = [*([spec.origin] if spec.origin else []), *(spec.submodule_search_locations or [])]
        installed = {Path(sysconfig.get_path(scheme)).resolve() for scheme in ("purelib", "platlib")}
        return not any(
            folder in installed or folder.name in ("site-packages", "dist-packages")
            for place in places
            for folder in Path(place).resolve().parents
        )
