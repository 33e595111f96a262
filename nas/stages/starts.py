"""The first stage: what all trainings of the run have in common, their precision and what they start from."""

from __future__ import annotations

from nas.stages.stage import Search
from nas.trainings.run_record import RunRecord
from nas.trainings.trainings import complete_plan


class Starts:
    """Completes the plan of this session, from what is recorded or else made now."""

    def missing(self, search: Search) -> bool:
        return True

    def run(self, search: Search) -> None:
        record = RunRecord(search.folder, search.store)
        before = record.parent
        search.plan = complete_plan(search.plan, search.prepared, record, search.engine, search.progress.say)
        if before is None and record.parent is not None:
            search.planner.ledger.spent(record.parent["seconds"])
