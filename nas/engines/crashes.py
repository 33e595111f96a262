"""Which workers died of what they trained: known beyond the death of the driver that saw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trials.trial import TrialJob

#: By training, what was said of each worker that died of it.
Texts = Mapping[str, Sequence[str]]


def _unkept(texts: Texts) -> None:
    """Where nothing outlives the engine."""


class Crashes:
    """Of the trainings that have not ended, the workers that may have died of each."""

    def __init__(self, known: Texts | None = None, keep: Callable[[Texts], None] = _unkept) -> None:
        """`known` of earlier sessions; `keep` makes what is told durable."""
        self._texts = {name: tuple(texts) for name, texts in (known or {}).items()}
        self._keep = keep

    def of(self, job: TrialJob) -> tuple[str, ...]:
        return self._texts.get(_name(job), ())

    def put(self, job: TrialJob, texts: Sequence[str]) -> None:
        """These are all that are known of, none where it has ended."""
        if tuple(texts) == self.of(job):
            return
        self._texts[_name(job)] = tuple(texts)
        if not texts:
            del self._texts[_name(job)]
        self._keep({name: list(texts) for name, texts in self._texts.items()})


def _name(job: TrialJob) -> str:
    """The training that it is, whichever its number."""
    return " ".join(
        map(str, (job.architecture.key, job.seed, job.epochs, job.start, *(["final"] if job.final else [])))
    )
