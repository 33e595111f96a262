"""A configuration from a TOML file and what is given beside it; what is wrong with it, in one line."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nas.settings.errors import ConfigError
from nas.settings.keys import Shape, all_keys, in_order, options, sections
from nas.settings.kinds import config_kind, task_of
from nas.settings.search import SearchConfig
from nas.settings.values import (
    read_count,
    read_figures,
    read_list,
    read_whole_numbers,
    read_whole_numbers_or_none,
)
from search_spaces.errors import UserError
from trials.tasks.metrics import TASKS

#: How a value is written: what it is in TOML, and how else it is read. What is neither is refused by its type.
_WRITTEN: dict[Shape, tuple[type, Callable[[str], Any]]] = {
    "text": (str, str),
    "whole number": (object, str),
    "whole number or none": (object, read_count),
    "number": (object, str),
    "switch": (object, str),
    "list": (list, read_list),
    "whole numbers": (list, read_whole_numbers),
    "whole numbers or none": (list, read_whole_numbers_or_none),
    "figures": (dict, read_figures),
}


def load_config(
    path: Path | None, overrides: Mapping[str, Any], named: Mapping[str, str] | None = None
) -> SearchConfig:
    """The file's settings, overridden by `overrides` (flat keys; `training.epochs` for a section's).

    `named` says how an override was given, where that was not by its option.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value that is not allowed.
    """
    settings = {} if path is None else read_toml(path)
    names = {**{key: name_of(key) for key in overrides}, **(named or {})}
    for key, value in overrides.items():
        section, dot, name = key.rpartition(".")
        target = settings.setdefault(section, {}) if dot else settings
        if not isinstance(target, dict):
            raise ConfigError(f"{path}: {section} is {target!r}, expected a table [{section}]")
        target[name] = value
    try:
        if settings.get("task", TASKS[0]) not in TASKS:
            SearchConfig.model_validate(settings)  # whose error names the tasks
        config = config_kind(settings).model_validate({**settings, "task": task_of(settings)})
        config._source = path
        return config
    except ValidationError as error:
        raise ConfigError(explain(error, config_kind(settings), path, names)) from None


def read_config(settings: Mapping[str, Any]) -> SearchConfig:
    """A recorded configuration. Raises pydantic.ValidationError."""
    return config_kind(settings).model_validate(settings)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises ConfigError with the line of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a TOML configuration") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def read_assignment(text: str) -> tuple[str, Any]:
    """`training.peak_lr=0.1` as key and value: TOML, or a bare text or list where the setting is one.

    `none` unsets what may be unset.

    Raises:
        ConfigError: no `=`, a key that no search has, or a value that no such setting can have.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as training.peak_lr=0.1")
    if name not in all_keys():
        inner = next((known for known in all_keys() if known.startswith(f"{name}.")), None)
        if inner is not None:
            raise ConfigError(f"--set {name}: it is a table; give one of its keys, such as {inner}={value}")
        raise ConfigError(f"--set {name}: unknown key; {_nearest_key(name)}")
    key = all_keys()[name]
    if value == "none" and key.optional and not key.shape.endswith("or none"):
        return name, None
    in_toml, in_a_line = _WRITTEN[key.shape]
    try:
        read = tomllib.loads(f"value = {value}")
        if list(read) == ["value"] and isinstance(read["value"], in_toml):
            return name, read["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        pass
    try:
        return name, in_a_line(value)
    except ValueError as error:
        raise ConfigError(f"--set {name}: given {_shown(value)}; {_in_short(str(error))}") from None


def name_of(key: str) -> str:
    """What a person calls a setting: its option, or its key where it has none."""
    return options().get(key, key)


def explain(error: ValidationError, kind: type[SearchConfig], path: Path | None, names: Mapping[str, str]) -> str:
    """The first problem pydantic found, in one line: where, key, what was given, what is allowed.

    `names` are those of the keys that were given beside the file.
    """
    problem = error.errors()[0]
    if not problem["loc"]:
        return f"{path or 'configuration'}: {_in_short(str(problem['ctx']['error']))}"
    location = tuple(part for part in problem["loc"] if isinstance(part, str))
    where = _where(location, path, names)
    if problem["type"] == "extra_forbidden":
        known = list(_fields(kind, location[:-1]))
        nearest = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return f"{where}: unknown key, given {_shown(problem['input'])}; {hint}known keys are {', '.join(known)}"
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return f"{where}: {_in_short(str(cause))}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    hint = _nearest_literal(problem)
    return f"{where}: given {_shown(problem['input'])}; {_in_short(message[0].lower() + message[1:])}{hint}"


def _where(location: tuple[str, ...], path: Path | None, names: Mapping[str, str]) -> str:
    """As what it was given: by an option, or in the file."""
    for length in range(len(location), 0, -1):
        if (given := ".".join(location[:length])) in names:
            return " ".join([names[given], *location[length:]])
    return f"{path or 'configuration'}: {'.'.join(location)}"


def _nearest_key(name: str) -> str:
    """The key that was probably meant, by its last part: people forget the table."""
    last = {key.rpartition(".")[2]: key for key in reversed(list(all_keys()))}
    found = difflib.get_close_matches(name.rpartition(".")[2], last, n=1)
    return f"did you mean {last[found[0]]!r}?" if found else "docs/settings.md lists all of them"


def _nearest_literal(problem: Any) -> str:
    if problem["type"] != "literal_error":
        return ""
    allowed = problem["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    nearest = difflib.get_close_matches(str(problem["input"]), allowed, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _fields(kind: type[SearchConfig], section: tuple[str, ...]) -> Iterator[str]:
    model: Any = kind
    for name in section:
        model = sections(model)[name]
    yield from in_order(model)


def _in_short(message: str) -> str:
    """One that quotes what was given, however long that is."""
    return message if len(message) <= _MOST else f"{message[: _MOST // 2]} … {message[-_MOST // 2 :]}"


#: Characters of a message.
_MOST = 800


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
