"""Whether a search's hours ended it before it came to what was asked, and how it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.planning.ending import settled
from nas.settings.search import SearchConfig
from reports.effort import effort_json, hours
from reports.formatting import format_duration
from reports.verdict import verdict_of
from reports.view import RunView
from search_spaces.errors import UserError


class BudgetSpent(UserError, RuntimeError):
    """The hours are spent and the search has not come to what was asked: everything is saved."""

    exit_code = 4


def unreached(config: SearchConfig, view: RunView) -> str | None:
    """What there was no time for, None where nothing was left out that was asked: a verdict, or where no finalists were
    wanted, the number of trials."""
    found = effort_json(view)
    if not config.timed:
        return None
    if config.wanted_finalists:
        verdict = verdict_of(view)
        if verdict is None:
            return "no verdict yet"
        return None if verdict.outside is None else "no verdict within the present budgets yet"
    asked = view.config.get("trials")
    return f"{found['trained']} of {asked} trials" if asked is not None and found["trained"] < asked else None


def way_on(config: SearchConfig, view: RunView) -> tuple[str, list[str]]:
    """What is spent of what, and the options that let the search go on: twice as many hours."""
    found, options = effort_json(view), []
    said = []
    for key, of, limit in (
        ("max_hours", "seconds", config.max_seconds), ("max_gpu_hours", "device_seconds", config.max_device_seconds),
    ):  # fmt: skip
        if limit is not None:
            name = f"--{key.replace('_', '-')}"
            said.append(f"{format_duration(found[of])} of {name} {getattr(config, key)}")
            options += [name, hours(2 * limit)]
    return " and ".join(said), options


def decided_under(recorded: Mapping[str, Any] | None, config: SearchConfig) -> bool | None:
    """Whether what a search left out for its budgets it would leave out again; None where it left out nothing."""
    ended = (recorded or {}).get("ended")
    if recorded is None or ended is None or not (recorded.get("cut") or ended["why"] == "enough"):
        return None
    return bool(recorded.get("settled") == settled(config))
