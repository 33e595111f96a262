"""model.pte: for ExecuTorch, on phones and small devices, its convolutions by XNNPACK; an optional package."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from nas.export.errors import ExportError
from nas.export.formats.format import Format, Here, Job, Place, Runner, cause
from nas.export.kinds import Outputs
from trials.latency.onnx_program import silence

#: The memory that a program asks for is planned for its largest batch. ExecuTorch plans for fewer where it meets a
#: bound of its own on the way, 15 in a ResNet-8: what it came to stands in the program.
MAX_BATCH = 16


class ExecuTorch(Format):
    """For any batch up to `MAX_BATCH`, or somewhat less."""

    name: ClassVar[str] = "model.pte"
    default: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("executorch",)
    usage: ClassVar[str] = 'method = Runtime.get().load_program("model.pte").load_method("forward")'
    run_as: ClassVar[str] = "ExecuTorch with XNNPACK, in this process, its own threads"

    def write(self, job: Job) -> None:
        _ = job.program  # says why torch.export cannot follow the network
        free = ({0: torch.export.Dim("batch", max=MAX_BATCH)},)
        try:
            with silence():
                exir = importlib.import_module("executorch.exir")
                xnnpack = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
                program = torch.export.export(job.network, (job.blank(2),), dynamic_shapes=free)
                lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
                content: bytes = lowered.to_executorch().buffer
                most = largest_batch(importlib.import_module("executorch.runtime").Runtime.get().load_program(content))
        except Exception as error:  # whatever ExecuTorch meets
            raise ExportError(f"ExecuTorch cannot take the network: {cause(error)}") from error
        (job.folder / self.name).write_bytes(content)
        job.facts[self.name] = {"largest_batch": most}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        with self.failing_as_itself(), silence():
            runtime = importlib.import_module("executorch.runtime").Runtime.get()
            program = runtime.load_program(str(place.folder / self.name))
            method, most = program.load_method("forward"), largest_batch(program)

        def forward(inputs: Tensor) -> Outputs:
            with self.failing_as_itself():
                # Its answers lie in its own memory, until it is asked again.
                parts = [
                    [answer.clone() for answer in method.execute([part.contiguous()])]
                    for part in torch.split(inputs, most)
                ]
                whole = map(torch.cat, zip(*parts, strict=True))
                return dict(zip(place.names, whole, strict=True))

        yield Here(self.name, forward)


def largest_batch(program: Any) -> int:
    """Of one that ExecuTorch's runtime has loaded: what its memory is planned for."""
    return int(program.metadata("forward").input_tensor_meta(0).sizes()[0])
