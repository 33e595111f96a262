"""The stage that keeps the estimates of a search of many trainings in its record, where its trials are over."""

from __future__ import annotations

from nas.session.keeping import keep
from nas.stages.stage import Search


class Estimates:
    """Keeps them unless those that are kept are of just what is recorded, and of the front as it is now."""

    def missing(self, search: Search) -> bool:
        return True  # what is missing is known by estimating, or by reading what is kept

    def run(self, search: Search) -> None:
        keep(search.store, search.view)
