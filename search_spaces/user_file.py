"""Objects out of a user's own Python file: `my_space.py:SPACE`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from search_spaces.errors import SpaceError, unknown


def is_reference(name: str) -> bool:
    """Whether a name is one of an object in a Python file."""
    return ".py:" in name


def load_object(reference: str) -> Any:
    """The object that `PATH.py:NAME` refers to. The file is run, once a process.

    Raises:
        SpaceError: no such file, it raises, or it has no such object; one line.
    """
    path, _, name = reference.rpartition(":")
    file = Path(path)
    if file.suffix != ".py":
        raise SpaceError(f"{reference}: give a Python file and an object in it, FILE.py:OBJECT")
    if not file.is_file():
        raise SpaceError(f"{file}: no such file; give FILE.py:OBJECT")
    module = _module(file.resolve())
    if not hasattr(module, name):
        raise unknown(f"object of {file}", name, [known for known in vars(module) if not known.startswith("_")])
    return getattr(module, name)


@cache
def _module(file: Path) -> ModuleType:
    # Known by name, so that its classes can be pickled and their sources exported.
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))  # what it imports from beside itself is found
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        del sys.modules[name]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise SpaceError(f"{file} cannot be imported: {reason}") from error
    finally:
        sys.path.remove(str(file.parent))
    return module
