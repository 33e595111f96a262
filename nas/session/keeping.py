"""Keeps the estimates of a search as it grows, so that a look at how far it is fits no model: see `reports.keeping`."""

from __future__ import annotations

from reports.keeping import to_keep
from reports.model import KEY, MANY
from reports.view import RunView
from trials.record.store import Store

#: Estimates are made anew when there are so many times the trainings that they were of.
GROWTH = 1.25


class Keeping:
    """Of one search under way, whose record's writer this is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = int((store.get(KEY) or {}).get("trainings", 0))

    def grown(self, view: RunView) -> None:
        """Something was trained: of that now and then."""
        there = len(view.order)
        if there >= MANY and there >= GROWTH * self._last:
            self._last = there
            keep(self._store, view)


def keep(store: Store, view: RunView) -> None:
    """What is to be kept of the run as it is recorded now, unless that is there."""
    kept = to_keep(view)
    if kept is not None:
        store.put({KEY: kept.to_json()})
