"""A report as Markdown: the same blocks as the page, charts as their tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from reports.document import Document

#: Rows of a chart's table; all of them are in the document and in the page's CSV.
ROWS = 30


def markdown(document: Document) -> str:
    """The whole report as text."""
    run, verdict = document["run"], document["verdict"]
    lines = [
        f"# {_plain(run['name'])}",
        f"**{_plain(verdict['headline'])}**",
        *(_plain(verdict[name]) for name in ("caveat", "leaks") if verdict[name]),
        f"Space {_plain(run['space'])}; data {_plain(run['data'])}; begun {run['begun']}; budgets: "
        f"{_plain(run['budgets'])}.",
    ]
    for block in document["head"]:
        lines += _block(block)
    for section in document["sections"]:
        lines.append(f"## {_plain(section['title'])}")
        for block in section["blocks"]:
            lines += _block(block)
    lines.append(f"---\n\nReport of document version {document['version']}, SHA-256 `{document['sha256']}`.")
    return "\n\n".join(lines) + "\n"


def _block(block: dict[str, Any]) -> list[str]:
    kind = block["kind"]
    if kind in ("text", "lead", "absent"):
        return [_plain(block["text"])]
    if kind == "heading":
        return [f"### {_plain(block['text'])}"]
    if kind == "table":
        return [_table(block["columns"], block["rows"]), *([_plain(block["note"])] if block["note"] else [])]
    if kind == "facts":
        return ["\n".join(f"- {_plain(name)}: {_plain(value)}" for name, value in block["pairs"])]
    if kind == "tiles":
        return ["\n".join(_tile(tile) for tile in block["tiles"])]
    if kind in ("command", "folded"):
        return [_fenced(block["text"])]
    if kind == "architectures":
        return [f"### {block['title']}", _architectures(block), _plain(block["note"])]
    if kind == "chart":
        return _chart(block)
    if kind == "charts":
        return [line for one in block["charts"] for line in _chart(one)]
    if kind == "pictures":
        rows = [[p["point"], p["choice"], p["part"], p["words"]] for p in block["pictures"]]
        return [_plain(block["summary"]), _table(["point", "operator", "weights", "distribution"], rows)]
    if kind == "contact":
        rows = [[one["kind"], one["truth"], one["before"], one["said"]] for one in block["shown"]]
        return [_plain(block["text"]), _table(["", "it is", "all-add", f"trial {block['trial']}"], rows)]
    return [_plain(block["caption"])] if kind == "image" else []


def _tile(tile: dict[str, str]) -> str:
    note = f" ({_plain(tile['note'])})" if tile["note"] else ""
    return f"- {_plain(tile['label'])}: {_plain(tile['value'])}{note}"


def _chart(block: dict[str, Any]) -> list[str]:
    lines = [f"### {_plain(block['title'])}", _plain(block["alt"])]
    if block["rows"]:
        lines.append(_table(block["columns"], block["rows"][:ROWS]))
    if len(block["rows"]) > ROWS:
        lines.append(f"The first {ROWS} of {len(block['rows']):,} rows.")
    return [*lines, _plain(block["note"])]


def _architectures(block: dict[str, Any]) -> str:
    columns = [
        "trial",
        block["score_label"],
        "Δ points",
        "P(better)",
        "FLOPs",
        "params",
        "p50",
        "p95",
        "choices",
        "export",
    ]
    rows = [
        [
            f"{row['number']} {', '.join(row['badges'])}".strip(), row["reached"], row["gain_text"], row["better"],
            row["macs_text"], row["params_text"], row["p50_text"], row["p95_text"], row["strip"]["text"],
            row["command"],
        ]
        for row in block["rows"]
    ]  # fmt: skip
    return _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [_row(columns), _row(["---"] * len(columns)), *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Iterable[Any]) -> str:
    return (
        "| "
        + " | ".join("---" if cell == "---" else _plain("" if cell is None else str(cell)) for cell in cells)
        + " |"
    )


def _plain(text: str) -> str:
    """Text that is read as such: no markup, no line of its own, nothing that a page would run."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"
