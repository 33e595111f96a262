"""Every setting under its key, `trials` or `training.epochs`, as its field declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nas.settings.kinds import SceneSearchConfig
from nas.settings.looks import LookSettings
from nas.settings.search import SearchConfig
from nas.settings.sections import Section
from nas.settings.setting import Role, Setting

#: What a value is, whatever its bounds.
Shape = Literal[
    "text", "whole number", "whole number or none", "number", "switch", "list", "whole numbers",
    "whole numbers or none", "figures",
]  # fmt: skip
_SHAPES: dict[Any, Shape] = {str: "text", int: "whole number", float: "number", bool: "switch", dict: "figures"}


@dataclass(frozen=True)
class Key:
    """One setting: its name, what its field says of it, what its values are, its default by kind of search.

    choices: the values of a text that may be these alone, else empty. optional: whether it may be unset.
    classifiers, scenes: whether such a search has it, and then its default (where it has not, None).
    """

    name: str
    setting: Setting
    shape: Shape
    choices: tuple[str, ...]
    optional: bool
    classifiers: tuple[Any] | None
    scenes: tuple[Any] | None

    @property
    def help(self) -> str:
        """One sentence, with the values that are allowed."""
        text = self.setting.help.replace("{choices}", _either(self.choices))
        return text[0].upper() + text[1:] if self.setting.help.startswith("{choices}.") else text

    @property
    def default(self) -> str | None:
        """The default as people read it, of searches over scenes beside it where that is another; None for unset."""
        if self.setting.default is not None:
            return self.setting.default
        texts = [None if found is None else _shown(found[0]) for found in (self.classifiers, self.scenes)]
        if self.classifiers is None or self.scenes is None or texts[0] == texts[1]:
            return texts[0] or texts[1]
        return f"{texts[0] or 'none'}; scenes {texts[1] or 'none'}"


@cache
def all_keys() -> Mapping[str, Key]:
    """Every setting of every kind of search by its key: those outside of tables first."""
    classifiers, scenes = dict(_leaves(SearchConfig)), dict(_leaves(SceneSearchConfig))
    names = sorted({**classifiers, **scenes}, key=lambda name: "." in name)
    tables = [name.partition(".")[0] for name in names if "." in name]
    names.sort(key=lambda name: tables.index(name.partition(".")[0]) if "." in name else -1)
    return {name: _key(name, classifiers.get(name), scenes.get(name)) for name in names}


def options() -> Mapping[str, str]:
    """The option of each key that has one."""
    return {name: key.setting.option for name, key in all_keys().items() if key.setting.option is not None}


def role_of(name: str) -> Role:
    """When a setting may change. One that no search has any more is fixed; of a table of figures it is the table's."""
    for known in (name, name.rpartition(".")[0]):
        if known in all_keys():
            return all_keys()[known].setting.role
    return Role.FIXED


def sections(model: type[Section]) -> dict[str, type[Section]]:
    """The tables of a configuration by name."""
    return {name: kind for name, kind in _types(model).items() if isinstance(kind, type) and issubclass(kind, Section)}


def _types(model: type[Section]) -> dict[str, Any]:
    return {name: field.annotation for name, field in model.model_fields.items()}


def in_order(model: type[Section]) -> list[str]:
    """The names of its settings: its own, then what a search may take and how it looks, which it has from a base."""
    return sorted(model.model_fields, key=lambda name: name in LookSettings.model_fields)


def _leaves(model: type[Section], table: str = "") -> Iterator[tuple[str, tuple[type[Section], str]]]:
    """Each setting as its key, the class that has it, and its name there."""
    inner = sections(model)
    for name in in_order(model):
        if name in inner:
            yield from _leaves(inner[name], f"{name}.")
        else:
            yield f"{table}{name}", (model, name)


def _key(name: str, classifiers: tuple[type[Section], str] | None, scenes: tuple[type[Section], str] | None) -> Key:
    model, field = next(place for place in (classifiers, scenes) if place is not None)
    shape, choices, optional = _read_type(model.model_fields[field].annotation)
    defaults = [None if place is None else (place[0].model_fields[field].default,) for place in (classifiers, scenes)]
    return Key(name, _declared(model, field), shape, choices, optional, *defaults)


def _declared(model: type[Section], name: str) -> Setting:
    """What the nearest class says of a field. Raises LookupError where none does."""
    for base in model.__mro__:
        if issubclass(base, Section) and name in base.model_fields:
            for part in base.model_fields[name].metadata:
                if isinstance(part, Setting):
                    return part
    raise LookupError(f"{model.__name__}.{name} says nothing of itself: annotate it with a Setting")


def _read_type(annotation: Any) -> tuple[Shape, tuple[str, ...], bool]:
    """The shape of its values, the texts that are allowed where few are, and whether None is."""
    if get_origin(annotation) is Annotated:
        return _read_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        optional = len(inner) < len(get_args(annotation))
        if Literal["none"] in inner:
            several = get_origin(inner[0]) is list
            return "whole numbers or none" if several else "whole number or none", (), optional
        shape, choices, _ = _read_type(inner[0])
        return shape, choices, optional
    if get_origin(annotation) is Literal:
        return "text", get_args(annotation), False
    if get_origin(annotation) is list:
        whole = _read_type(get_args(annotation)[0])[0] == "whole number"
        return "whole numbers" if whole else "list", (), False
    return _SHAPES[get_origin(annotation) or annotation], (), False


def _either(names: tuple[str, ...]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _shown(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ",".join(map(str, value)) or None
    return None if value in (None, {}) else str(value)
