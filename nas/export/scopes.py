"""Which names of a module a statement uses, and where in its text: Python's scoping rules over an ast."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Union:
    """The operands of an annotation `A | B | C`, in order."""

    operands: tuple[ast.expr, ...]


@dataclass(frozen=True)
class Reference:
    """A use of a global name, with the attributes that follow it: `layers.pointwise`.

    `nodes[i]` is the expression of `chain[:i + 1]`; it is empty inside a quoted annotation, whose
    parts have no place of their own. `eager` uses happen when the module is imported; `operand` is the
    place in an annotated union where the use may be left out.
    """

    chain: tuple[str, ...]
    nodes: tuple[ast.expr, ...]
    eager: bool
    annotation: bool
    operand: tuple[Union, int] | None


def references(statement: ast.stmt) -> list[Reference]:
    """Every use of a module-level name in a module-level statement, its own targets included."""
    finder = _Finder()
    finder.visit(statement)
    return finder.found


def bound_names(statements: Iterable[ast.AST]) -> set[str]:
    """The names that statements bind in their own scope; nested functions and classes keep theirs."""
    names: set[str] = set()
    outside: set[str] = set()
    for node in _own_scope(statements):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case ast.Global(names=globals_):
                outside.update(globals_)
    return names - outside


def locally_bound(statement: ast.AST) -> set[str]:
    """Every name bound anywhere below the statement: what a renamed global must not be called."""
    names = {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names |= bound_names(node.body)
    return names


def _own_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield node
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # Only a walrus binds outside a comprehension.
                yield from (inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
            case _:
                yield from _own_scope(ast.iter_child_nodes(node))


class _Finder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Reference] = []
        self._scopes: list[tuple[bool, set[str]]] = []  # is it a class's, and what it binds
        self._depth = 0  # of function bodies
        self._annotation = False
        self._quoted = False
        self._operand: tuple[Union, int] | None = None

    def visit_Name(self, node: ast.Name) -> None:
        self._use((node.id,), (node,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[ast.expr] = [node]
        names = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner)
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._use((inner.id, *reversed(names)), (inner, *reversed(parts)))
        else:
            self.visit(inner)

    def _use(self, chain: tuple[str, ...], nodes: tuple[ast.expr, ...]) -> None:
        if self._is_local(chain[0]):
            return
        eager = self._depth == 0 and not self._annotation
        self.found.append(Reference(chain, () if self._quoted else nodes, eager, self._annotation, self._operand))

    def _is_local(self, name: str) -> bool:
        if not self._scopes:
            return False
        # A class's names are seen by its own statements, not by its methods.
        outer = any(name in names for is_class, names in self._scopes if not is_class)
        return outer or (self._scopes[-1][0] and name in self._scopes[-1][1])

    @contextmanager
    def _scope(self, names: set[str], *, is_class: bool = False, lazy: bool = False) -> Iterator[None]:
        self._scopes.append((is_class, names))
        self._depth += lazy
        yield
        self._depth -= lazy
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        with self._scope(bound_names(node.body), is_class=True):
            self._visit_all(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _function(self, node: _Function) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        self._visit_all([*arguments.defaults, *(default for default in arguments.kw_defaults if default)])
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        if not isinstance(node, ast.Lambda):
            self._visit_all(node.decorator_list)
            for annotation in [*(argument.annotation for argument in every), node.returns]:
                self._annotate(annotation)
        with self._scope({argument.arg for argument in every} | bound_names(body), lazy=True):
            self._visit_all(body)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, [node.key, node.value])

    def _comprehension(self, node: _Comprehension, results: list[ast.expr]) -> None:
        self.visit(node.generators[0].iter)  # the one part that is evaluated outside
        with self._scope(bound_names(generator.target for generator in node.generators)):
            for index, generator in enumerate(node.generators):
                self._visit_all([*([generator.iter] if index else []), *generator.ifs])
            self._visit_all(results)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotate(node.annotation)
        self._visit_all([node.target, *([node.value] if node.value else [])])

    def _annotate(self, annotation: ast.expr | None) -> None:
        if annotation is not None:
            self._annotation = True
            self.visit(annotation)
            self._annotation = False

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        named = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
        if not (self._annotation and named == "Literal"):  # its strings are values, not quoted types
            self.visit(node.slice)

    def visit_Constant(self, node: ast.Constant) -> None:
        if self._annotation and isinstance(node.value, str):
            try:
                quoted = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return
            self._quoted = True
            self.visit(quoted)
            self._quoted = False

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if not (self._annotation and isinstance(node.op, ast.BitOr)) or self._quoted:
            self.generic_visit(node)
            return
        operands: list[ast.expr] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.BitOr):
            operands.insert(0, left.right)
            left = left.left
        union = Union((left, *operands))
        before = self._operand
        for index, operand in enumerate(union.operands):
            self._operand = (union, index)
            self.visit(operand)
        self._operand = before

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)
