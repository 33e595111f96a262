"""What a report is made of: blocks that a page, a text and a program can all show, as plain JSON.

A block names its `kind`; what it holds is text already, but for charts, which also hold the figures that they draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Block = dict[str, Any]


def section(key: str, title: str, blocks: Iterable[Block]) -> dict[str, Any]:
    """A part of a report; `key` is its anchor."""
    return {"key": key, "title": title, "blocks": list(blocks)}


def text(sentence: str) -> Block:
    """A paragraph."""
    return {"kind": "text", "text": sentence}


def lead(sentence: str) -> Block:
    """A paragraph that explains what stands beside it."""
    return {"kind": "lead", "text": sentence}


def absent(sentence: str) -> Block:
    """Why there is nothing, and what would make it."""
    return {"kind": "absent", "text": sentence}


def heading(words: str) -> Block:
    return {"kind": "heading", "text": words}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> Block:
    """Cells of text under their columns; `note` says what they are and how they come about."""
    return {"kind": "table", "columns": list(columns), "rows": [list(row) for row in rows], "note": note}


def facts(pairs: Iterable[tuple[str, Any]]) -> Block:
    """Names and what they are."""
    return {"kind": "facts", "pairs": [[str(name), _words(value)] for name, value in pairs]}


def tiles(found: Iterable[Mapping[str, str]]) -> Block:
    """Single figures: label, value, note, title."""
    return {"kind": "tiles", "tiles": [dict(one) for one in found]}


def command(line: str) -> Block:
    return {"kind": "command", "text": line}


def folded(summary: str, content: str) -> Block:
    """Text as it is, opened by whoever asks."""
    return {"kind": "folded", "summary": summary, "text": content}


def chart(
    draws: str, key: str, title: str, alt: str, note: str, columns: Sequence[str] = (),
    rows: Iterable[Sequence[Any]] = (), **data: Any,
) -> Block:  # fmt: skip
    """A picture that the page draws by `draws`: `alt` says what it shows, `note` by which method and from how many.

    `columns` and `rows` are its figures as a table; a chart of all trials has none, for they stand in the trials.
    """
    figures = {"columns": list(columns), "rows": [list(row) for row in rows]}
    return {"kind": "chart", "draws": draws, "key": key, "title": title, "alt": alt, "note": note, **figures, **data}


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{part} {name}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        more = f", … ({len(value)} in all)" if len(value) > 20 else ""
        return ", ".join(str(part) for part in value[:20]) + more
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return str(value)
