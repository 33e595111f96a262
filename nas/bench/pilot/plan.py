"""What a pilot trains: some architectures under some seeds, in every way of starting, and which record has which."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from nas.bench.pilot.readings import REGIMES, Way
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.settings.search import SearchConfig
from nas.trainings.trainings import Wanted
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from trials.seeds import derive

#: What a pilot varies itself.
VARIED = ("training.epochs", "training.regime", "training.fine_tune_lr", "training.fusion_lr_scale", "seed", "out")
#: Of a parent, beside the shortest look: as of a search.
_PARENT_EPOCHS = 4


@dataclass(frozen=True)
class Pilot:
    """A task and what is tried on it.

    settings: of the search that its trainings are those of, without what is varied. starts: ways of starting, each for
    `epochs`; beside them the truth, new weights for `long_epochs`. trunk_rates: an inherited network's highest rate, in
    multiples of that of a new one; fusion_rates: its fusions', in multiples of its own.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    starts: Sequence[str] = REGIMES
    epochs: Sequence[int] = (3,)
    long_epochs: int = 9
    trunk_rates: Sequence[float] = (0.25, 1.0)
    fusion_rates: Sequence[float] = (1.0, 10.0)
    architectures: int = 12
    seeds: int = 3

    def __post_init__(self) -> None:
        for key in self.settings:
            if key in VARIED:
                raise ConfigError(f"{key}: a pilot varies it itself; see --epochs, --starts and the rates")
        for option, given, least in (("architectures", self.architectures, 2), ("seeds", self.seeds, 2)):
            if given < least:
                raise ConfigError(f"--{option}: given {given}; {least} or more tell architectures from noise")
        for start in self.starts:
            if start not in REGIMES:
                raise ConfigError(f"--starts: given {start!r}; expected some of {', '.join(REGIMES)}")
        if any(rate <= 0 for rate in (*self.trunk_rates, *self.fusion_rates)):
            raise ConfigError("--trunk-rates, --fusion-rates: expected numbers above 0, such as 0.25,1")
        if any(epochs < 1 for epochs in (*self.epochs, self.long_epochs)):
            raise ConfigError("--epochs, --long-epochs: expected whole numbers above 0, such as 1,3")

    @property
    def base(self) -> SearchConfig:
        """The settings that its ways have in common."""
        return load_config(None, {"engine": "local", "export": "none", "finalists": "none", **self.settings})

    @property
    def truth(self) -> Way:
        training = self.base.training
        return Way("scratch", self.long_epochs, training.peak_lr, training.fusion_lr_scale)

    def ways(self) -> list[Way]:
        """Each once, the truth last."""
        training, found = self.base.training, []
        for start, epochs in product(self.starts, self.epochs):
            if start == "scratch":
                found.append(Way("scratch", epochs, training.peak_lr, training.fusion_lr_scale))
            elif start == "supernet":
                found.append(Way("supernet", epochs, training.peak_lr / 4, training.fusion_lr_scale))
            else:
                found += [
                    Way("inherit", epochs, trunk * training.peak_lr, fusions)
                    for trunk, fusions in product(self.trunk_rates, self.fusion_rates)
                ]
        return [*(way for way in dict.fromkeys(found) if way != self.truth), self.truth]

    def configuration(self, way: Way, out: Path, parent: Path | None = None) -> SearchConfig:
        """Of the record of a way; `parent` is what inherited networks have in common, None where it is made."""
        training: dict[str, Any] = {"training.regime": way.regime, "training.epochs": way.epochs}
        settings = dict(self.settings)
        given, epochs = settings.pop("training.parent", None), settings.pop("training.parent_epochs", None)
        if way.regime != "scratch":
            training |= {"training.fine_tune_lr": way.peak_lr, "training.fusion_lr_scale": way.fusion_lr_scale}
        if way.regime == "inherit" and (given is not None or parent is not None):
            training["training.parent"] = given or str(parent)
        elif way.regime != "scratch":
            training["training.parent_epochs"] = epochs or _PARENT_EPOCHS * min(self.epochs)
        common = {"engine": "local", "export": "none", "finalists": "none", **settings}
        return load_config(None, {**common, **training, "out": str(out / way.folder)})

    def groups(self, space: SearchSpace) -> Iterator[tuple[Way, list[Wanted]]]:
        """All that is wanted, a whole seed of everything before the next, so that it can be shown wherever it is cut
        off."""
        drawn = architectures(space, self.architectures)
        for seed, way in product(range(1, self.seeds + 1), self.ways()):
            yield way, [Wanted(architecture, seed, way.epochs) for architecture in drawn]


def architectures(space: SearchSpace, most: int) -> list[Architecture]:
    """All-add, each operator everywhere, then uniform draws."""
    alike = [space.uniform(op) for op in space.operators if op != "add" and space.offers(op)]
    found, number = dict.fromkeys([space.baseline, *alike]), 0
    while len(found) < min(most, space.size):
        found.setdefault(space.sample(random.Random(derive(0, "pilot", number))))
        number += 1
    return list(found)[:most]
