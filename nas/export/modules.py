"""Modules as text: what binds each of their names, what their statements use, whose source an export carries."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from nas.export.errors import ExportError
from search_spaces import user_code
from search_spaces.user_file import known_as

#: Our own rooms: never imported by an export.
OWN_PACKAGES = ("search_spaces", "trials", "reports", "nas")

_Defines = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


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


@dataclass(frozen=True)
class Use:
    """A module-level name that a statement uses, with the attributes behind it: `layers.pointwise`.

    `nodes[i]` is the expression of `chain[:i + 1]`; there is none inside a quoted annotation.
    """

    chain: tuple[str, ...]
    nodes: tuple[ast.expr, ...]


@dataclass(eq=False)
class Statement:
    """A statement at a module's top, as Python's own symbol table sees it."""

    source: SourceModule
    node: ast.stmt

    @property
    def where(self) -> str:
        return f"{self.source.name}:{self.node.lineno}"

    @property
    def first_line(self) -> int:
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min([self.node.lineno, *(found.lineno for found in decorators)])

    @cached_property
    def _tables(self) -> list[symtable.SymbolTable]:
        lines = self.source.lines[self.first_line - 1 : self.node.end_lineno]
        try:
            found = [symtable.symtable("\n".join(lines), self.source.name, "exec")]
        except SyntaxError:
            raise ExportError(
                f"the lines of {self.where} cannot be read apart from the others: give each statement lines of its own"
            ) from None
        for table in found:  # grows while it is walked
            found += table.get_children()
        return found

    @cached_property
    def binds(self) -> frozenset[str]:
        """The module's names that it gives a value."""
        symbols = self._tables[0].get_symbols()
        inner = [s for table in self._tables[1:] for s in table.get_symbols() if s.is_declared_global()]
        return frozenset(s.get_name() for s in [*symbols, *inner] if s.is_assigned() or s.is_imported())

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Names that mean something of its own in a part of it."""
        inner = (symbol for table in self._tables[1:] for symbol in table.get_symbols())
        return frozenset(symbol.get_name() for symbol in inner if not (symbol.is_global() or symbol.is_free()))

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        names = {symbol.get_name() for symbol in self._tables[0].get_symbols()}
        names |= {s.get_name() for table in self._tables[1:] for s in table.get_symbols() if s.is_global()}
        chains = _Chains()
        chains.visit(self.node)
        quoted = [Use(use.chain, ()) for text in _quoted(self.node) for use in _chains_of(text)]
        return tuple(use for use in [*chains.found, *quoted] if use.chain[0] in names or not use.nodes)

    def changes(self, name: str) -> bool:
        """Does it change what that name stands for: `LIST.append(x)`, `TABLE[key] = x`, `Class.part = x`?"""
        if isinstance(self.node, _Defines | ast.Import | ast.ImportFrom) or _is_main(self.node):
            return False
        for part in ast.walk(self.node):
            if isinstance(part, ast.Subscript | ast.Attribute) and not isinstance(part.ctx, ast.Load):
                inner: ast.expr = part
                while isinstance(inner, ast.Subscript | ast.Attribute):
                    inner = inner.value
                if isinstance(inner, ast.Name) and inner.id == name:
                    return True
            if isinstance(part, ast.Expr):
                inside = list(ast.walk(part))
                named = any(isinstance(found, ast.Name) and found.id == name for found in inside)
                if named and any(isinstance(found, ast.Call) for found in inside):
                    return True
        return False


class _Chains(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Use] = []

    def visit_Name(self, node: ast.Name) -> None:
        self.found.append(Use((node.id,), (node,)))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        nodes: list[ast.expr] = [node]
        while isinstance(nodes[0], ast.Attribute):
            nodes.insert(0, nodes[0].value)
        if isinstance(nodes[0], ast.Name):
            names = [part.attr for part in nodes[1:] if isinstance(part, ast.Attribute)]
            self.found.append(Use((nodes[0].id, *names), tuple(nodes)))
        else:
            self.visit(nodes[0])


def _chains_of(text: str) -> list[Use]:
    chains = _Chains()
    try:
        chains.visit(ast.parse(text, mode="eval"))
    except SyntaxError:
        return []
    return chains.found


def _quoted(node: ast.stmt) -> Iterator[str]:
    """The annotations of a statement that are written as text; a Literal's strings are values."""
    for part in ast.walk(node):
        for written in (getattr(part, "annotation", None), getattr(part, "returns", None)):
            if written is not None and "Literal" not in ast.dump(written):
                yield from (
                    inner.value
                    for inner in ast.walk(written)
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
                )


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test)
    )


@dataclass(eq=False)
class SourceModule:
    """A module's text, its statements in order, and the import behind each of its imported names."""

    name: str
    module: ModuleType
    lines: list[str]
    statements: list[Statement] = field(default_factory=list)
    imports: dict[str, Import] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> SourceModule:
        """Raises ExportError when the module has no source, as in a notebook or an extension."""
        try:
            module = importlib.import_module(name)
            text = _text(module)
            parsed, tree = cls(name, module, lines_of(text)), ast.parse(text)
        except (ImportError, OSError, TypeError, SyntaxError):
            raise ExportError(
                f"the source of module {name!r} cannot be read: define what the network needs in a .py file"
            ) from None
        for node in tree.body:
            parsed.statements.append(Statement(parsed, node))
            for imported in imports_of(node, module.__package__ or ""):
                parsed.imports[imported.name] = imported
        return parsed

    def known_as(self, name: str) -> str:
        """Under which name the module is found that `import name` means in this one."""
        return known_as(name, self.module)

    def binding(self, name: str) -> list[Statement]:
        """The statements that give a name its value, none for an imported one."""
        found = [] if name in self.imports else [one for one in self.statements if name in one.binds]
        # Of several classes or functions of one name the last one counts, and nothing before it.
        last = max((place for place, one in enumerate(found) if isinstance(one.node, _Defines)), default=0)
        return found[last:]

    def behind(self, name: str) -> list[Statement]:
        """Those, and the statements that change it afterwards, in order."""
        binding = self.binding(name)
        return [one for one in self.statements if one in binding or (binding and one.changes(name))]


def lines_of(text: str) -> list[str]:
    """As Python counts them: `splitlines` ends one at a form feed and at other characters too."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _text(module: ModuleType) -> str:
    """Its source as it was run, where that is known: of a user's file, which she may have edited since."""
    known = user_code.read.get(Path(inspect.getsourcefile(module) or "").resolve())
    return inspect.getsource(module) if known is None else importlib.util.decode_source(known)


def imports_of(node: ast.stmt, package: str) -> Iterator[Import]:
    """What a statement at a module's top imports; in TYPE_CHECKING and around optional imports as well."""
    if isinstance(node, ast.If | ast.Try):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from imports_of(child, package)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            parent, _, last = alias.name.rpartition(".")
            if alias.asname is None:
                yield Import(alias.name, None, alias.name.partition(".")[0])
            elif parent:
                yield Import(parent, last, alias.asname)
            else:
                yield Import(alias.name, None, alias.asname)
    elif isinstance(node, ast.ImportFrom):
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            if alias.name != "*":  # its names are found in the running module
                yield Import(module, alias.name, alias.asname or alias.name)


def nested_imports(node: ast.stmt, package: str) -> Iterator[Import]:
    """The imports inside a statement, such as in a function's body."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import | ast.ImportFrom):
            yield from imports_of(part, package)


def is_carried(module: str, carried_packages: Iterable[str]) -> bool:
    """Does an export carry that module's source (ours, the user's), or import it (torch, what is installed)?"""
    top = module.partition(".")[0]
    if top in {*OWN_PACKAGES, *carried_packages, "__main__"}:
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
    return not any({"site-packages", "dist-packages"} & set(Path(place).resolve().parts) for place in places)
