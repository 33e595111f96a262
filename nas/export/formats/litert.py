"""model.tflite: for LiteRT, on phones and small devices; made and asked in an environment of its own, which the user
names: litert-torch wants another torch than ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from nas.export import isolated
from nas.export.errors import ExportError
from nas.export.formats import litert_conversion
from nas.export.formats.alone import alone
from nas.export.formats.format import Format, Job, Place, Runner
from nas.export.formats.source import Source
from nas.export.trained import write_weights

#: The environment, or its Python.
VARIABLE = "FUSION_NAS_LITERT"
MAX_SECONDS = 1800.0


class LiteRt(Format):
    """Of what model.py builds, for one image: litert-torch takes no free batch size of convolutional networks."""

    name: ClassVar[str] = "model.tflite"
    default: ClassVar[bool] = False
    usage: ClassVar[str] = 'run = Interpreter("model.tflite").get_signature_runner()  # ai_edge_litert.interpreter'
    run_as: ClassVar[str] = "LiteRT with XNNPACK, one thread, image by image, in a process of its own"

    def missing(self) -> str | None:
        if interpreter().is_file():
            return None
        home = interpreter().parents[1]
        return (
            f"there is no environment with litert-torch at {home}: name one in {VARIABLE}, or make it by `uv venv "
            f"{home} && uv pip install --python {home} litert-torch`"
        )

    def write(self, job: Job) -> None:
        with TemporaryDirectory(prefix="fusion-nas-litert-") as scratch:
            folder = Path(scratch)
            Source().write(replace(job, folder=folder, facts={}))
            write_weights(job.trained, job.network, folder)
            _convert(folder, job)
            os.replace(folder / self.name, job.folder / self.name)
        job.facts[self.name] = {"batch": 1}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        with alone(self.name, place, interpreter()) as asked:
            yield asked


def interpreter() -> Path:
    """The Python of the environment, whether it is there or not."""
    cache = Path(os.environ.get("FUSION_NAS_CACHE") or "~/.cache/fusion-nas")
    named = Path(os.environ.get(VARIABLE) or cache / "litert").expanduser().absolute()
    return named if named.is_file() else named / "bin" / "python"


def _convert(folder: Path, job: Job) -> None:
    """`folder`'s model.py as a model.tflite beside it. Raises ExportError where that cannot be."""
    sides = [str(side) for side in job.trained.space.input_shape]
    helpers = [str(Path(module.__file__ or "").resolve()) for module in (litert_conversion, isolated)]
    command = [str(interpreter()), "-I", "-B", *helpers, str(folder / "model.py"), str(folder / LiteRt.name), *sides]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(f"litert-torch was not through with it after {MAX_SECONDS / 60:.0f} minutes") from None
    except OSError as error:
        raise ExportError(f"{interpreter()} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ExportError(f"litert-torch cannot take the network: {said[-1][:200] if said else 'it ended in silence'}")
