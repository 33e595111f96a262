"""The measurements of a profile under way, line by line, so that an interrupted profile goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.errors import SpaceError
from trials.latency import Measurement
from trials.whole_files import write_whole


class Journal:
    """`FILE.measuring` beside the profile that it becomes; the first line holds the settings it is of."""

    def __init__(self, profile: Path, settings: Mapping[str, Any]) -> None:
        self.path = profile.with_name(profile.name + ".measuring")
        self._header = json.dumps(settings, sort_keys=True)
        self.found = self._read()
        # Rewritten: a line that was cut off in the middle of writing must not precede new ones.
        lines = [self._header, *(_line(step, measurement) for step, measurement in self.found.items())]
        write_whole(self.path, "".join(f"{line}\n" for line in lines))

    def append(self, step: str, measurement: Measurement) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{_line(step, measurement)}\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Measurement]:
        """What was measured under the same settings; nothing of others' and nothing after a damaged line."""
        try:
            header, *lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return {}
        found: dict[str, Measurement] = {}
        if header != self._header:
            return found
        for line in lines:
            try:
                data = json.loads(line)
                found[str(data["step"])] = Measurement.from_json(data["measurement"])
            except (ValueError, KeyError, TypeError, SpaceError):
                break
        return found


def _line(step: str, measurement: Measurement) -> str:
    return json.dumps({"step": step, "measurement": measurement.to_json()})
