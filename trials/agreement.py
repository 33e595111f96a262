"""Whether a worker has the data and the space that its driver has: another machine may hold others by the same name."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field

from search_spaces.errors import SpaceError
from search_spaces.space import SearchSpace
from trials.data import DataError, ImageData, SceneData
from trials.errors import NodeDiffers


def _this_process() -> tuple[str, int]:
    return platform.node(), os.getpid()


@dataclass(frozen=True)
class Agreement:
    """The fingerprints of the driver's data and space, and which process the driver is: it agrees with itself."""

    data: str
    space: str
    driver: tuple[str, int] = field(default_factory=_this_process)

    @property
    def needed(self) -> bool:
        return _this_process() != self.driver

    def loaded(self, load: Callable[[], ImageData | SceneData]) -> ImageData | SceneData:
        """What `load` gives, when it is the driver's. Raises NodeDiffers, one line that names this machine."""
        if not self.needed:
            return load()
        try:
            data = load()
        except DataError as error:
            raise NodeDiffers(f"{platform.node()} lacks the data: {error} ({_MEND})") from None
        if data.fingerprint != self.data:
            raise NodeDiffers(
                f"{platform.node()} has other data of the name {data.name} (fingerprint {data.fingerprint}, the "
                f"driver's is {self.data}): {_MEND}"
            )
        return data

    def check_space(self, space: SearchSpace) -> None:
        """Raises NodeDiffers where the space comes to something else by the code of this machine."""
        if not self.needed:
            return
        try:
            made = SearchSpace.from_json(space.to_json()).fingerprint  # what was sent holds the driver's own points
        except SpaceError as error:
            raise NodeDiffers(f"{platform.node()} cannot make the space: {error}") from None
        if made != self.space:
            raise NodeDiffers(
                f"{platform.node()} makes another space of {space.name} (fingerprint {made}, the driver's is "
                f"{self.space}): install the driver's fusion-nas there; nas cluster check compares all nodes"
            )


_MEND = "bring the driver's there, or ship them with --ship-data true; nas cluster check compares all nodes"
