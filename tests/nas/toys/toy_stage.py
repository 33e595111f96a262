"""A stage that trains the best trial once more, under another seed, and says what came of it."""

from __future__ import annotations

from nas.stages.stage import Search
from nas.trainings.trainings import TrainingSource, Wanted, missing


class ToyStage:
    def wanted(self, search: Search) -> list[Wanted]:
        best = search.view.select("best").result
        return missing([Wanted(best.architecture, best.seed + 100, best.epochs)], search.view.trainings)

    def missing(self, search: Search) -> bool:
        return bool(self.wanted(search))

    def run(self, search: Search) -> None:
        start, say = search.plan.start.name, search.progress.say
        source = TrainingSource(
            self.wanted(search), start, search.prepared, search.store,
            lambda training: say(f"toy stage: {training.score:.2f}"), search.interruption,
        )  # fmt: skip
        search.engine.run(search.plan, source)
