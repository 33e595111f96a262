"""What the Python files of an export import, and whether a network has need of it. Nothing is run.

It is no sandbox: Python that is run can do whatever it likes by other ways than imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from nas.export.shipped import CODE_FOLDER

#: Of Python's own library: what reads, computes and describes, and the two that our own text loads others by.
HARMLESS = frozenset(
    (
        *("__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "decimal", "enum"),
        *("fractions", "functools", "heapq", "importlib", "inspect", "itertools", "logging", "math", "numbers"),
        *("operator", "pathlib", "random", "re", "statistics", "string", "sys", "textwrap", "types", "typing"),
        *("typing_extensions", "warnings", "weakref"),
    )
)
#: What `fit` and `register_with_timm` of model.py load where it is installed.
_LATER = {"PIL", "timm"}
#: Compiled Python: it may run in place of the text beside it.
_COMPILED = (".pyc", ".pyo", ".so", ".pyd")


def wrong_imports(folder: Path, document: Mapping[str, Any]) -> dict[str, str]:
    """By file, what it imports that neither a network needs nor arch.json says, or why that cannot be told."""
    said = document.get("model.py", {})
    # One of the name of Python's own is not what `import` finds: that is loaded already.
    own = {path.relative_to(folder / CODE_FOLDER).parts[0].removesuffix(".py") for path in _travelling(folder)}
    own -= sys.stdlib_module_names
    needed = {*HARMLESS, "torch", *map(str, said.get("needs", []))}
    may = {"model.py": {*needed, *own, *_LATER}, "predict.py": {*needed, *_LATER, "model"}}
    wrong: dict[str, str] = {}
    for path in _sources(folder):
        name = path.relative_to(folder).as_posix()
        try:
            more = sorted(set(_tops(path.read_bytes())) - may.get(name, {*needed, *own}))
        except (SyntaxError, ValueError):
            wrong[name] = "is no Python"
            continue
        if more:
            wrong[name] = f"imports {', '.join(more)}, which arch.json does not say and no network needs: read it first"
    return wrong


def packages_said(document: Mapping[str, Any]) -> list[str]:
    """Those beyond torch and torchvision that model.py imports, as arch.json says."""
    return sorted({*map(str, document.get("model.py", {}).get("needs", []))} - {"torch", "torchvision"})


def compiled(folder: Path, listed: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Compiled files that Python may run in place of those that were looked at: by file, what is wrong, and notes.

    Of a source that is `listed` Python itself leaves one wherever it is imported: that is a note.
    """
    wrong: dict[str, str] = {}
    notes: dict[str, str] = {}
    for path in (path for path in sorted(folder.rglob("*")) if path.suffix in _COMPILED):
        name, source = path.relative_to(folder).as_posix(), path.parent.parent / f"{path.name.partition('.')[0]}.py"
        left = path.suffix == ".pyc" and path.parent.name == "__pycache__" and source.is_relative_to(folder)
        if left and source.relative_to(folder).as_posix() in listed:
            notes[name] = (
                f"is {source.name} as Python compiled it, and was neither looked at nor run: where the folder comes "
                "from somebody else, delete it"
            )
        else:
            wrong[name] = "is compiled code, which may run in place of what was exported: delete it"
    return wrong, notes


def links(folder: Path) -> dict[str, str]:
    """What is a link, or neither file nor folder. Behind one lies what nobody has looked at, and what a file that is
    one has beside it is found there."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = "is a link, and what lies behind it is not looked at: put a copy of that in its place"
        elif not (path.is_file() or path.is_dir()):
            found[name] = "is no plain file: move it away"
    return found


def hiding(folder: Path, ours: Collection[str]) -> dict[str, str]:
    """Of the sources beside `ours`, the names of an export's own, those that Python would import in place of others.

    torch imports others in turn: whatever has the name of a module of Python's own or of an installed one is one.
    """
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*.py")))
    top_of = {name.as_posix(): name.parts[0].removesuffix(".py") for name in names if name.parts[0] not in ours}
    if not top_of:
        return {}
    tops: set[str] = set()
    for path in _sources(folder):
        try:
            tops |= set(_tops(path.read_bytes()))
        except (SyntaxError, ValueError):
            continue
    # A folder without an __init__.py comes after whatever is installed.
    whole = {top for name, top in top_of.items() if name in (f"{top}.py", f"{top}/__init__.py")}
    tops |= whole & (sys.stdlib_module_names | packages_distributions().keys())
    return {name: f"hides {top}, which is imported: move it away" for name, top in top_of.items() if top in tops}


def _sources(folder: Path) -> Iterator[Path]:
    yield from (path for path in (folder / "model.py", folder / "predict.py") if path.is_file())
    yield from _travelling(folder)


def _travelling(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / CODE_FOLDER).rglob("*.py") if path.is_file())


def _tops(content: bytes) -> Iterator[str]:
    """The packages that a source names: in import statements, and where it calls for one by a constant name."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if isinstance(node.func, ast.Name) and called in ("__import__", "exec", "eval"):
                yield called
            first = node.args[0] if node.args else None
            if called == "import_module" and isinstance(first, ast.Constant):
                yield str(first.value).partition(".")[0]
