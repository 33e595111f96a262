"""Small changes to a statement's text that leave its layout and comments as they were."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nas.export.errors import ExportError
from nas.export.scopes import Union


@dataclass(frozen=True)
class Edit:
    """Replace what lies between two places, (line from 1, byte from 0); `expected` guards against a wrong place."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str
    expected: str | None = None

    @classmethod
    def of(cls, node: ast.expr, text: str, expected: str) -> Edit:
        return cls(*_span(node), text, expected)


def _span(node: ast.expr) -> tuple[tuple[int, int], tuple[int, int]]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def without_operand(union: Union, index: int, gone: Collection[int]) -> Edit:
    """Take one operand out of an annotation `A | B | C`, when those in `gone` all go."""
    start, end = _span(union.operands[index])
    if any(later not in gone for later in range(index + 1, len(union.operands))):
        return Edit(start, _span(union.operands[index + 1])[0], "")
    return Edit(_span(union.operands[index - 1])[1], end, "")


def rename_header(
    statement: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, lines: Sequence[str], name: str
) -> Edit:
    """Give a class or function another name in its own first line."""
    line = lines[statement.lineno - 1].encode()
    found = re.search(rb"\b(?:class|def)\s+(" + re.escape(statement.name.encode()) + rb")\b", line)
    if found is None:
        raise ExportError(f"{statement.name} cannot be renamed to {name}: write its name behind class or def")
    at = statement.lineno
    return Edit((at, found.start(1)), (at, found.end(1)), name)


def apply(
    lines: Sequence[str], statement: ast.stmt, dropped: Collection[int], edits: Collection[Edit], where: str
) -> str:
    """The statement's lines, the comment right above it included, with the edits made."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators), *dropped])
    last = statement.end_lineno or statement.lineno
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    text = {number: lines[number - 1].encode() for number in range(first, last + 1)}
    # From the end backwards, so that earlier places stay where they are.
    for edit in sorted(set(edits), key=lambda edit: edit.start, reverse=True):
        (row, column), (end_row, end_column) = edit.start, edit.end
        old = b"\n".join(text[number] for number in range(row, end_row + 1))
        tail = text[end_row][end_column:]
        replaced = old[column : len(old) - len(tail)]
        if edit.expected is not None and replaced.decode() != edit.expected:
            # Before Python 3.12, names inside an f-string have no exact place.
            raise ExportError(f"{edit.expected} at {where} cannot be renamed in its text: give it a name of its own")
        text[row] = text[row][:column] + edit.text.encode() + tail
        for number in range(row + 1, end_row + 1):
            del text[number]
    return "\n".join(text[number].decode() for number in sorted(text) if number not in dropped)
