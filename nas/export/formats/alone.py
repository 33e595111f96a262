"""The exported model.py, model.pt2 or model.tflite as something to ask: it answers from a process of its own, which has
torch and not us."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import torch
from torch import Tensor

from nas.export import isolated
from nas.export.errors import ArtefactError
from nas.export.formats.format import MAX_SECONDS, PASSES, Place, Runner
from nas.export.kinds import Outputs

# -I hides PYTHONPATH and the user's site, where torch itself may live.
_START = (
    "import runpy, sys; script, home = sys.argv[1:]; sys.path.append(home); runpy.run_path(script, run_name='__main__')"
)


@dataclass
class Alone(Runner):
    """Given uint8 images, model.py scales them itself."""

    _later: Callable[[object], Future[Any]]
    _scales: bool

    def ask(self, inputs: Tensor, images: Tensor | None = None) -> Callable[[], Outputs]:
        return self._later((inputs if images is None or not self._scales else images).clone()).result

    def milliseconds(self, image: Tensor) -> list[float]:
        found: list[float] = self._later({"image": image, "passes": PASSES, "seconds": MAX_SECONDS}).result()
        return found


@contextmanager
def alone(name: str, place: Place, python: Path | None = None) -> Iterator[Alone]:
    """Load an artefact in a process that cannot import what is refused; questions are answered there one after another.

    `python` is that of another environment, which has its own torch. An answer raises ArtefactError where it does not
    run.
    """
    script, home = str(Path(isolated.__file__).resolve()), str(Path(torch.__file__).parents[1])
    started = [sys.executable, "-I", "-B", "-c", _START, script, home]
    if python is not None:
        started = [str(python), "-I", "-B", script]
    with (
        TemporaryDirectory(prefix="fusion-nas-parity-") as empty,
        TemporaryFile() as complaints,
        subprocess.Popen(
            started,
            cwd=empty,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
        ) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def answer(question: object) -> Any:
            try:
                isolated.send(questions, question)
                found = isolated.receive(answers)
            except Exception as error:
                if not isinstance(error, OSError | EOFError | ValueError):  # it goes on, with what is no answer
                    process.terminate()
                with suppress(OSError):
                    questions.close()  # or its unwritten rest would be an error of its own
                process.wait()
                raise ArtefactError(name, f"the generated {name} does not run by itself: {_last(complaints)}") from None
            return found

        start = {
            "model": str((place.folder / name).resolve()),
            "outputs": list(place.names),
            "refused": list(place.refused),
            "compiled": empty if place.strange else None,
        }
        pool.submit(isolated.send, questions, start)
        try:
            yield Alone(lambda question: pool.submit(answer, question), name.endswith(".py"))
        finally:
            process.terminate()


def _last(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
