"""Objects out of a user's own Python file: `my_space.py:SPACE`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

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
    try:
        with guarded(file):
            spec.loader.exec_module(module)
    except SpaceError:
        del sys.modules[name]
        raise
    return module


@contextmanager
def guarded(file: Path) -> Iterator[None]:
    """Runs a user's code: what it imports from beside `file` is found, what it prints goes to stderr, and what it
    changes of the whole process (arguments, path, random state, default dtype, threads) is put back.

    Raises SpaceError for whatever it raises, an exit too, in one line that names the file.
    """
    import torch

    arguments, path, threads, dtype = sys.argv, list(sys.path), torch.get_num_threads(), torch.get_default_dtype()
    states = random.getstate(), numpy.random.get_state()
    sys.argv, sys.path[:0] = [str(file)], [str(file.parent)]
    try:
        with contextlib.redirect_stdout(sys.stderr), torch.random.fork_rng(devices=[]):
            yield
    except SystemExit as error:
        raise SpaceError(
            f"{file} ends the program when it is imported (exit {error.code}): move what runs a program under "
            'if __name__ == "__main__":'
        ) from None
    except SpaceError:
        raise
    except Exception as error:  # the user's own code may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise SpaceError(f"{file} cannot be imported: {reason}") from error
    finally:
        sys.argv, sys.path[:] = arguments, path
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
