"""What a user's file is, as source: its own and that of what it imports from beside itself.

Free of torch, and nothing is run: what a search was made with can be told before it is loaded.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: What changes nothing when it changes.
_IDLE = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
#: Where lines end and blocks begin, whatever they are indented with.
_LAYOUT = {tokenize.NEWLINE: "\n", tokenize.INDENT: "{", tokenize.DEDENT: "}"}


#: By file of users', what was first read of it in this process: the code that runs, whatever was edited since.
read: dict[Path, bytes] = {}


def text_of(path: Path) -> bytes:
    """The content of a file of a user's, as first read."""
    if path not in read:
        read[path] = path.read_bytes()
    return read[path]


@cache
def code_of(file: Path) -> str:
    """16 hex digits over the code of a file and of whatever it imports from its own folder, as first read.

    Comments, blank lines and indentation do not count.
    """
    whole = hashlib.sha256()
    for path in files_of(file):
        whole.update(f"{path.relative_to(file.parent)}\0{_code(path)}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()[:16]


def files_of(file: Path) -> list[Path]:
    """A file and what it imports from its own folder, and what that does."""
    return sorted(_reached(file))


def beside(folder: Path, name: str) -> Path | None:
    """The file behind `import name` of a module or package in that folder, None where there is none."""
    place = folder.joinpath(*name.split("."))
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _reached(file: Path) -> set[Path]:
    found, todo = {file}, [file]
    while todo:
        for path in _imported(todo.pop(), file.parent):
            if path not in found:
                found.add(path)
                todo.append(path)
    return found


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """The files of `folder` that a file imports, in functions too; those of the packages on the way are among them."""
    package = file.parent.relative_to(folder).parts
    for node in ast.walk(_tree(file)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [".".join(filter(None, (module, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                path = beside(folder, ".".join(parts[:length]))
                if path is not None:
                    yield path


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(text_of(file))
    except (SyntaxError, ValueError, OSError):  # said when it is run
        return ast.Module([], [])


def _code(file: Path) -> str:
    content = text_of(file)
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(content).readline))
    except (SyntaxError, tokenize.TokenError):
        return content.decode(errors="replace")
    # A space apart would make a string's parts, which newer versions of Python tell apart, another text.
    return "".join(_LAYOUT.get(token.type, token.string) for token in tokens if token.type not in _IDLE)
