"""Objects out of a user's own Python file: `my_space.py:SPACE`.

Her code runs in one guarded place. What it imports from its own folder is found there whatever it is called, what it
prints is narration, and what it changes of the whole process is put back.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import torch

from search_spaces.errors import SpaceError, unknown
from search_spaces.references import absolute
from search_spaces.user_code import beside, code_of


def code_behind(reference: str) -> str:
    """16 hex digits over the code behind a reference. See `code_of`. Raises SpaceError for no such file."""
    return code_of(_file(reference).resolve())


def load_object(reference: str) -> Any:
    """The object that `PATH.py:NAME` refers to. The file is run, once a process.

    Raises:
        SpaceError: no such file, it raises, or it has no such object; one line.
    """
    file, name = _file(reference), reference.rpartition(":")[2]
    module = _module(file.resolve())
    if not hasattr(module, name):
        raise unknown(f"object of {file}", name, [known for known in vars(module) if not known.startswith("_")])
    return getattr(module, name)


def _file(reference: str) -> Path:
    given = reference.rpartition(":")[0]
    file = Path(absolute(given) if given.startswith("~") else given)
    if file.suffix != ".py":
        raise SpaceError(f"{reference}: give a Python file and an object in it, FILE.py:OBJECT")
    if not file.is_file():
        raise SpaceError(f"{file}: no such file; give FILE.py:OBJECT")
    return file


@cache
def _module(file: Path) -> ModuleType:
    # Known by name, so that its classes can be pickled and their sources exported.
    name = f"{file.stem}_{_digest(file)}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    code_of(file)  # as it is now, when it is run
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with guarded(file), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a network that is made while the file runs is the same in every process
            spec.loader.exec_module(module)
    except SpaceError:
        del sys.modules[name]
        raise
    return module


@contextmanager
def guarded(file: Path) -> Iterator[None]:
    """Runs the code of a user's file.

    Raises SpaceError for whatever it raises, an exit too, in one line that names the file.
    """
    try:
        with _helpers_of(file.parent), _process_kept(file), contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as error:
        raise SpaceError(
            f"{file} ends the program when it is run (exit {error.code}): move what runs a program under "
            'if __name__ == "__main__":'
        ) from None
    except SpaceError:
        raise
    except Exception as error:  # the user's own code may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise SpaceError(f"{file} cannot be imported: {reason}") from error


@contextmanager
def _process_kept(file: Path) -> Iterator[None]:
    """Afterwards the arguments, seeds, default dtype and threads are those of before. What is drawn from torch stays
    drawn: networks are initialised so."""
    arguments, threads, dtype = sys.argv, torch.get_num_threads(), torch.get_default_dtype()
    states, seed, drawn = (random.getstate(), numpy.random.get_state()), torch.initial_seed(), torch.get_rng_state()
    deterministic, device = torch.are_deterministic_algorithms_enabled(), torch.get_default_device()
    sys.argv = [str(file)]
    try:
        yield
    finally:
        sys.argv = arguments
        if torch.initial_seed() != seed:
            torch.default_generator.set_state(drawn)
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_default_device(device)


@contextmanager
def _helpers_of(folder: Path) -> Iterator[None]:
    """Imports find what is in that folder first, under whatever name (`trials`, say, or that of a helper of another
    user's file); afterwards the names mean what they did before."""
    path = list(sys.path)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    names = {name for name in _tops() if _shadowed(folder, name)}
    others = _taken(names)
    sys.modules.update(_own.get(folder, {}))
    try:
        yield
    finally:
        sys.path[:] = path
        own = _taken(names | set(_own.get(folder, {})))
        _own.setdefault(folder, {}).update({name: _renamed(name, module, folder) for name, module in own.items()})
        sys.modules.update(others)


def known_as(name: str, importer: ModuleType) -> str:
    """Under which name `sys.modules` has what `import name` means in a module, which may be of a user's folder: two
    folders may have helpers of one name."""
    file = getattr(importer, "__file__", None)
    if file is None:
        return name
    path = Path(file).resolve()
    place = path.parent if path.name == "__init__.py" else path
    folders = [place, *place.parents]
    folder = folders[min(importer.__name__.count(".") + 1, len(folders) - 1)]
    return _private(name, folder) if name in _own.get(folder, {}) else name


#: By folder, the modules of users' files whose names belong to others.
_own: dict[Path, dict[str, ModuleType]] = {}


def _tops() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__"}


def _shadowed(folder: Path, name: str) -> bool:
    """Whether the module that is loaded under a name is another than the folder's."""
    path = beside(folder, name)
    if path is None:
        return False
    loaded = getattr(sys.modules.get(name), "__file__", None)
    return loaded is None or Path(loaded).resolve() != path.resolve()


def _taken(names: set[str]) -> dict[str, ModuleType]:
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    for name in found:
        del sys.modules[name]
    return found


def _renamed(name: str, module: ModuleType, folder: Path) -> ModuleType:
    """A module known by a name of its own as well: so its classes are pickled, and their sources exported."""
    private = _private(name, folder)
    sys.modules[private] = module
    for thing in list(vars(module).values()):
        if getattr(thing, "__module__", None) == name and callable(thing):
            with contextlib.suppress(AttributeError, TypeError):
                thing.__module__ = private
    return module


def _private(name: str, folder: Path) -> str:
    top, dot, rest = name.partition(".")
    return f"{top}_{_digest(folder)}{dot}{rest}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
