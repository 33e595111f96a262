"""When trainings end that workers take side by side, each as soon as it is free."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence


def ends_after(batches: Iterable[Sequence[float]], workers: int, running: Sequence[float] = ()) -> float:
    """Seconds until the last of `batches` has ended, each begun when all of those before have; in the first one
    workers are free when what they run (`running`: seconds left) has ended. Trainings are in seconds."""
    free = sorted(running)[-workers:]
    whole = max(free, default=0.0)
    free = [*free, *[0.0] * (workers - len(free))]
    for batch in batches:
        heapq.heapify(free)
        for seconds in batch:
            end = heapq.heappop(free) + seconds
            heapq.heappush(free, end)
            whole = max(whole, end)
        free = [whole] * workers
    return whole
