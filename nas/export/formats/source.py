"""model.py: the network as plain PyTorch, asked in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from nas.export.errors import ExportError
from nas.export.folding import foldable
from nas.export.formats.alone import alone
from nas.export.formats.format import Format, Job, Nearness, Place, Runner
from nas.export.generation import GeneratedSource, generate
from nas.export.shipped import CODE_FOLDER


class Source(Format):
    """A traced network is written out layer by layer where that can be, else by its author's own code."""

    name: ClassVar[str] = "model.py"
    beside: ClassVar[tuple[str, ...]] = (CODE_FOLDER,)
    nearness: ClassVar[Nearness] = "same"
    usage: ClassVar[str] = "network = model.load()  # import model"
    run_as: ClassVar[str] = "python -I, in a process of its own that cannot import this package"

    def write(self, job: Job) -> None:
        try:
            self._put(job, generate(job.trained, folded=_folded(job)))
        except ExportError as error:
            try:
                self._put(job, generate(job.trained, original=True, folded=_folded(job)))
            except ExportError:
                raise error from None

    def write_otherwise(self, job: Job) -> bool:
        if (job.folder / CODE_FOLDER).exists():
            return False
        try:
            self._put(job, generate(job.trained, original=True, folded=_folded(job)))
        except ExportError:
            return False
        return True

    def _put(self, job: Job, source: GeneratedSource) -> None:
        for name, content in source.files.items():
            path = job.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (job.folder / self.name).write_text(source.text, encoding="utf-8")
        job.facts[self.name] = {"needs": source.packages, "files": sorted(source.files)}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        with alone(self.name, place) as asked:
            yield asked


def _folded(job: Job) -> tuple[tuple[str, str], ...]:
    """None of a network that torch.export cannot follow."""
    try:
        return foldable(job.program, job.network)
    except ExportError:
        return ()
