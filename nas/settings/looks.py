"""How often and how long a search looks: the settings of its rungs, of its noise and of its finalists."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nas.settings.effort import EffortSettings
from nas.settings.errors import ConfigError
from nas.settings.rungs import begun_at_first_rung, checked_rungs
from nas.settings.setting import Role, Setting

#: So many finalists where there are trials enough.
FINALISTS = 3
#: Seeds that the noise of a search is measured with, and the trials from which on it is.
NOISE_SEEDS, RANKED_TRIALS = 3, 10


class LookSettings(EffortSettings):
    """The trainings that a search wants beside one of each trial."""

    rungs: Annotated[
        list[int] | Literal["none"],
        Setting("Epochs of a trial's first look and of longer ones at the most promising, 3,9,27; none for one look.",
                option="--rungs", metavar="E,E,…|none", page="rungs.md"),
    ] = "none"  # fmt: skip
    noise_seeds: Annotated[
        int | None, Field(ge=1),
        Setting("Measure the noise of scores with K seeds, 1 for not.", Role.CIRCUMSTANCE, option="--noise-seeds",
                metavar="K", default=f"{NOISE_SEEDS} from {RANKED_TRIALS} trials on"),
    ] = None  # fmt: skip
    finalists: Annotated[
        Annotated[int, Field(ge=0)] | Literal["none"] | None,
        Setting("At the end, train N of the best anew beside all-add and judge them on unseen images; none for not.",
                Role.CIRCUMSTANCE, option="--finalists", metavar="N|none", default=f"{FINALISTS}, of few trials fewer",
                page="finalists.md"),
    ] = None  # fmt: skip
    finalist_seeds: Annotated[
        int, Field(ge=2),
        Setting("Train each finalist under K seeds.", Role.CIRCUMSTANCE, option="--seeds", metavar="K"),
    ] = 3  # fmt: skip
    finalist_max_seeds: Annotated[
        int | None, Field(ge=2),
        Setting("While the verdict is open, seeds are added up to so many.", Role.CIRCUMSTANCE,
                default="twice finalist_seeds"),
    ] = None  # fmt: skip

    @field_validator("rungs", mode="before")
    @classmethod
    def _growing_rungs(cls, rungs: Any) -> Any:
        return checked_rungs(rungs)

    @model_validator(mode="before")
    @classmethod
    def _first_rung(cls, given: Any) -> Any:
        return begun_at_first_rung(given)

    @model_validator(mode="after")
    def _finalists_of_trials(self) -> LookSettings:
        if isinstance(self.finalists, int) and self.finalists > self.wanted_trials:
            least = "max_trials" if self.wanted_trials == self.max_trials else "trials"
            raise ConfigError(
                f"finalists is {self.finalists}, but {least} is {self.wanted_trials}: finalists are among these"
            )
        if self.finalist_max_seeds is not None and self.finalist_max_seeds < self.finalist_seeds:
            raise ConfigError(
                f"finalist_max_seeds is {self.finalist_max_seeds}, but finalist_seeds {self.finalist_seeds}: give at "
                "least as many"
            )
        return self

    @property
    def seeds_for_noise(self) -> int:
        """Under how many seeds the first architectures of a search are trained, to know its noise."""
        if self.noise_seeds is not None:
            return self.noise_seeds
        return NOISE_SEEDS if self.wanted_trials >= RANKED_TRIALS else 1

    @property
    def wanted_finalists(self) -> int:
        """How many trials are finalists, at most; one of the trials is all-add."""
        if self.finalists is None:
            return min(FINALISTS, self.wanted_trials - 1)
        return 0 if self.finalists == "none" else self.finalists
