"""Why the looks of a search ended, and what that was decided under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas.settings.search import SearchConfig


@dataclass(frozen=True)
class Ended:
    """Why no more looks are begun: `why` is hours, gpu_hours, trials, enough, unseen or looks (all that were asked)."""

    why: str
    text: str

    @property
    def cut(self) -> bool:
        """Whether more would be done if more were given."""
        return self.why in ("hours", "gpu_hours", "trials")


def settled(config: SearchConfig) -> dict[str, Any]:
    """What a decision to end was made under: under more than that it is made anew."""
    names = (
        "max_hours", "max_gpu_hours", "early_stop", "sampler", "prior", "from_runs", "objectives", "minimum",
        "max_flops", "max_params", "max_latency", "latency_profile", "finalists", "finalist_seeds",
        "finalist_max_seeds",
    )  # fmt: skip
    return {name: getattr(config, name) for name in names} | {"trials": config.wanted_trials}
