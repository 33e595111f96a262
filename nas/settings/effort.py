"""What a search may take, in hours and trainings: the settings of its budgets of effort.

Those of networks (multiply-adds, parameters, milliseconds) decide what is found; these, how long it is looked for. A
run may go on under others at any time.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from nas.settings.sections import Section
from nas.settings.setting import Group, Role, Setting
from trials.durations import read_hours

#: Trained where nothing is said, and the most where only hours are.
TRIALS, MANY = 20, 100_000


class EffortSettings(Section):
    """The budgets of effort of a search, all sessions of its run together."""

    trials: Annotated[
        int | None, Field(ge=1),
        Setting("Train N architectures; under hours that end sooner, fewer.", Role.EXTEND, option="--trials",
                metavar="N", default=f"{TRIALS}, under hours as many as fit", group=Group.EFFORT,
                page="effort.md"),
    ] = None  # fmt: skip
    max_hours: Annotated[
        str | None,
        Setting("End within H hours (or 90min, 2d) of all sessions together, finalists and all.", Role.CIRCUMSTANCE,
                option="--max-hours", metavar="H", group=Group.EFFORT, default="no limit", page="effort.md"),
    ] = None  # fmt: skip
    max_gpu_hours: Annotated[
        str | None,
        Setting("End within H hours of GPUs held by trainings (on CPUs: of workers), all sessions together.",
                Role.CIRCUMSTANCE, option="--max-gpu-hours", metavar="H", group=Group.EFFORT, default="no limit",
                page="effort.md"),
    ] = None  # fmt: skip
    max_trials: Annotated[
        int | None, Field(ge=1),
        Setting("Never train more than N architectures, whatever trials and hours say, all sessions together.",
                Role.CIRCUMSTANCE, option="--max-trials", metavar="N", group=Group.EFFORT, default="no limit",
                page="effort.md"),
    ] = None  # fmt: skip
    early_stop: Annotated[
        Literal["auto", "never"],
        Setting("auto: stop proposing when nothing that is left could change the verdict; never.", Role.CIRCUMSTANCE,
                option="--early-stop", metavar="HOW", group=Group.EFFORT, page="effort.md"),
    ] = "auto"  # fmt: skip

    @field_validator("max_hours", "max_gpu_hours", mode="before")
    @classmethod
    def _readable_hours(cls, given: Any) -> Any:
        """A number of a file as people write it in a line."""
        text = f"{given:g}" if isinstance(given, int | float) and not isinstance(given, bool) else given
        if isinstance(text, str):
            read_hours(text)
        return text

    @property
    def max_seconds(self) -> float | None:
        """Of the clock on the wall, all sessions together."""
        return None if self.max_hours is None else read_hours(self.max_hours)

    @property
    def max_device_seconds(self) -> float | None:
        """Of all devices that trainings hold, added up."""
        return None if self.max_gpu_hours is None else read_hours(self.max_gpu_hours)

    @property
    def timed(self) -> bool:
        """Whether time is what ends the search."""
        return self.max_hours is not None or self.max_gpu_hours is not None

    @property
    def wanted_trials(self) -> int:
        """How many architectures are trained; where time is what ends the search, at most."""
        unsaid = self.max_trials or (MANY if self.timed else TRIALS)
        wanted = unsaid if self.trials is None else self.trials
        return min(wanted, self.max_trials or wanted)
