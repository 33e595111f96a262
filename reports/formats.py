"""A report in every form: page, Markdown, sealed JSON, a table of trials, and the front as a picture."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from reports.columns import rows_of
from reports.document import Document, document_text
from reports.errors import ReportError
from trials.whole_files import write_whole

FORMATS = ("html", "md", "json", "csv", "svg", "png")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-device-scale-factor=2",
)  # fmt: skip


def write_document(document: Document, path: Path, form: str) -> Path:
    """Write a document in one of `FORMATS`, whole or not at all, and return its path.

    Raises ReportError for another form, and where a picture asks for a browser that is not there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "png":
        content: str | bytes = picture_png(document)
    elif form in FORMATS:
        content = text_of(document, form)
    else:
        raise ReportError(f"a report has no form {form!r}: expected one of {', '.join(FORMATS)}")
    write_whole(path, content, errors="replace")
    return path


def text_of(document: Document, form: str) -> str:
    """A document as text in one of the forms that are text."""
    if form == "html":
        from reports.page import render_document

        return render_document(document)
    if form == "md":
        from reports.markdown import markdown

        return markdown(document)
    if form == "svg":
        from reports.front_picture import picture

        return picture(document) + "\n"
    return document_text(document) if form == "json" else trials_csv(document)


def trials_csv(document: Document) -> str:
    """All trials, a line each; no text in it is run as a formula by a spreadsheet."""
    rows = rows_of(document["trials"])
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["number"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(_cell, names))
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def picture_png(document: Document) -> bytes:
    """The front as PNG, drawn by whichever Chromium there is. Raises ReportError where there is none."""
    from reports.front_picture import HEIGHT, WIDTH, picture

    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise ReportError(
            f"--format png takes a picture in a browser, and none of {', '.join(_BROWSERS)} is "
            "installed: install one, or "
            "ask for --format svg"
        )
    with tempfile.TemporaryDirectory() as folder:
        page, target = Path(folder) / "front.html", Path(folder) / "front.png"
        page.write_text(
            f"<!DOCTYPE html><meta charset=utf-8><style>body{{margin:0}}</style>{picture(document)}", "utf-8"
        )
        flags = [*_FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}"]
        done = subprocess.run(
            [browser, *flags, f"--screenshot={target}", page.as_uri()], capture_output=True, timeout=120, check=False
        )
        if not target.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ReportError(
                f"{browser} drew no picture: {said[-1] if said else 'it said nothing'}; ask for --format svg"
            )
        return target.read_bytes()
