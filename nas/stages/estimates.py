"""The stage that keeps the estimates of a search of many trainings in its record: looking at it then takes no time."""

from __future__ import annotations

from nas.stages.stage import Search
from reports.keeping import to_keep
from reports.model import KEY


class Estimates:
    """Keeps them unless those that are kept are of just what is recorded, and of the front as it is now."""

    def missing(self, search: Search) -> bool:
        return True  # what is missing is known by estimating, or by reading what is kept

    def run(self, search: Search) -> None:
        kept = to_keep(search.view)
        if kept is not None:
            search.store.put({KEY: kept.to_json()})
