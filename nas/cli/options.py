"""The options of commands: those of settings, made from the settings' own fields, and what several commands share.

Only click is imported at start: a command's options are made when it is called, or its help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from nas.settings.errors import ConfigError
from nas.settings.values import (
    read_count,
    read_figures,
    read_list,
    read_whole_numbers,
    read_whole_numbers_or_none,
)
from trials.durations import read_seconds

if TYPE_CHECKING:
    from nas.settings.keys import Shape

Command = Callable[..., Any]
#: What makes options of settings.
Options = Callable[[], "list[SettingOption]"]


class InALine(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A list, figures or a time, as people write them in a line. What is none is refused in one."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises ConfigError for what cannot be read."""
        if not isinstance(value, str):
            return value  # a default
        try:
            return self._read(value)
        except ValueError as error:
            raise ConfigError(f"{param.opts[0] if param else self.name}: given {value!r}; {error}") from None


LIST = InALine("list", read_list)
WHOLE_NUMBERS = InALine("whole numbers", read_whole_numbers)
COUNT = InALine("whole number or none", read_count)
SCHEDULES = InALine("whole numbers or none", read_whole_numbers_or_none)
FIGURES = InALine("figures", read_figures)
SECONDS = InALine("time", read_seconds)
#: How an option is read, by the shape of its values; texts are judged with the configuration.
_TYPES: Mapping[Shape, Any] = {
    "text": click.STRING,
    "whole number": click.INT,
    "whole number or none": COUNT,
    "number": click.FLOAT,
    "switch": click.BOOL,
    "list": LIST,
    "whole numbers": WHOLE_NUMBERS,
    "whole numbers or none": SCHEDULES,
    "figures": FIGURES,
}


class SettingOption(click.Option):
    """The option of a setting; None where it is not given."""

    heading: str


def option_of(
    key: str,
    note: str = "",
    help: str | None = None,
    default: str | None = None,
    option: str | None = None,
    metavar: str | None = None,
) -> SettingOption:
    """The option of one setting, as its field says it; `note` follows its help, the rest stands in its place."""
    from nas.settings.keys import all_keys

    found = all_keys()[key]
    setting = found.setting
    usual = default or found.default
    text = f"{help or found.help}{note}" + (f"  [default: {usual}]" if usual else "")
    name = key.replace(".", "__") if option is None else option.removeprefix("--")
    several: dict[str, Any] = {"multiple": True, "callback": _joined} if setting.repeated else {}
    made = SettingOption(
        [option or setting.option or "", name], type=_TYPES[found.shape], metavar=metavar or setting.metavar, help=text,
        **several,
    )  # fmt: skip
    made.heading = setting.group.value
    return made


def _joined(ctx: click.Context, param: click.Parameter, value: tuple[list[Any], ...]) -> list[Any] | None:
    """What an option that may be repeated was given, as one list; None where it was not."""
    return [one for part in value for one in part] or None


def options_of(*keys: str, note: str = "", default: str | None = None) -> Options:
    """The options of some settings."""
    return lambda: [option_of(key, note=note, default=default) for key in keys]


def every_option(without: Iterable[str] = ()) -> Options:
    """The options of all settings that have one, heading by heading."""

    def made() -> list[SettingOption]:
        from nas.settings.keys import options
        from nas.settings.setting import Group

        found = [option_of(key) for key in options() if key not in without]
        return sorted(found, key=lambda option: list(Group).index(Group(option.heading)))

    return made


class SettingsCommand(click.Command):
    """A command that takes options of settings beside its own; its help shows them under headings."""

    def __init__(self, *args: Any, settings: Options = list, **kwargs: Any) -> None:
        self._settings: Options | None = settings
        super().__init__(*args, **kwargs)

    @property
    def params(self) -> list[click.Parameter]:
        """Its own, and those of settings, made when somebody asks."""
        make, self._settings = self._settings, None
        if make is not None:
            self._params.extend(make())
        return self._params

    @params.setter
    def params(self, own: list[click.Parameter]) -> None:
        self._params = own

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Heading by heading, its own at the end."""
        headings: dict[str, list[tuple[str, str]]] = {}
        own: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if isinstance(param, click.Option) and record is not None:
                heading = headings.setdefault(param.heading, []) if isinstance(param, SettingOption) else own
                heading.append(record)
        for name, records in [*headings.items(), ("Options", own)]:
            with formatter.section(name):
                formatter.write_dl(records)


class SettingsGroup(SettingsCommand, click.Group):
    """A command of this kind that has commands of its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its commands after its options."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def config_argument(command: Command) -> Command:
    from pathlib import Path

    return click.argument("config", required=False, type=click.Path(path_type=Path))(command)


def set_option(command: Command) -> Command:
    """`--set KEY=VALUE`, for every setting."""
    return click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE",
        help="Any setting, as in a TOML file: training.peak_lr=0.1. May be repeated.",
    )(command)  # fmt: skip


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)


#: Where a study of a run trains, and where what it trains with is now: of every such command the same.
circumstances_options = options_of(
    "engine", "workers", "ray.address", "ray.gpus_per_trial", "device", "data", "data_dir", "space", default="RUN's"
)


def places_options(command: Command) -> Command:
    """Where what a run was made with is now."""
    moved = "if they have moved: they are recognised by their fingerprint"
    data = click.option("--data", metavar="NAME", help=f"Where RUN's data are, {moved}.")
    space = click.option(
        "--space", metavar="FILE.py:OBJECT", help=f"Where RUN's own network and its code are, {moved}."
    )
    return data(space(command))


def given_settings(given: Mapping[str, Any], assignments: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """What was given by options and by `--set`, as keys and values of a configuration; and how each was given.

    Raises ConfigError for an assignment that cannot be read, or a key that is given twice.
    """
    settings = {name.replace("__", "."): value for name, value in given.items() if value is not None}
    named: dict[str, str] = {}
    if not assignments:
        return settings, named
    from nas.settings.loading import name_of, read_assignment

    for text in assignments:
        key, value = read_assignment(text)
        if key in settings:
            raise ConfigError(f"--set {key}: it is also given by {named.get(key, name_of(key))}; give one of them")
        settings[key], named[key] = value, f"--set {key}"
    return settings, named
