"""model.int8.pt2: torch.export's program in eight bits, quantised by torchao (pt2e) on real images; optional."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch

from nas.export.errors import ExportError
from nas.export.formats.format import Job, Nearness, Place, Runner, cause
from nas.export.formats.int8 import BATCH, ranging
from nas.export.formats.program import Program
from trials.latency.onnx_program import silence

_PT2E = "torchao.quantization.pt2e"


class TorchInt8(Program):
    """As torchao's quantiser for x86 does it. Its steps are fused by torch.compile; run as it is, it is slow."""

    name: ClassVar[str] = "model.int8.pt2"
    default: ClassVar[bool] = False
    nearness: ClassVar[Nearness] = "lossy"
    needs: ClassVar[tuple[str, ...]] = ("torchao",)
    usage: ClassVar[str] = 'import torchao.quantization.pt2e; network = torch.export.load("model.int8.pt2").module()'
    run_as: ClassVar[str] = "torch.export.load, in this process, not compiled"

    def write(self, job: Job) -> None:
        inputs, program = ranging(job), job.program
        free = ({0: torch.export.Dim("batch")},)
        content = io.BytesIO()
        try:
            with silence(), torch.no_grad():
                steps = importlib.import_module(f"{_PT2E}.quantize_pt2e")
                x86 = importlib.import_module(f"{_PT2E}.quantizer.x86_inductor_quantizer")
                quantiser = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
                prepared = steps.prepare_pt2e(program.module(), quantiser)
                for batch in torch.split(inputs, BATCH):
                    prepared(batch)
                quantised = torch.export.export(steps.convert_pt2e(prepared), (job.blank(2),), dynamic_shapes=free)
                torch.export.save(quantised, content)
        except Exception as error:  # whatever torchao meets
            raise ExportError(f"torchao cannot quantise it: {cause(error)}") from error
        (job.folder / self.name).write_bytes(content.getbuffer())
        job.facts[self.name] = {"images": len(inputs)}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        if not place.strange:
            with self.failing_as_itself(), silence():
                importlib.import_module(_PT2E)  # brings the operators
        with super().runner(place) as asked:
            yield asked
