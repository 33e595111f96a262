"""model.pt2: the network as torch.export sees it, which torch runs without any source of ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from nas.export.formats.alone import alone
from nas.export.formats.format import Format, Here, Job, Nearness, Place, Runner
from nas.export.kinds import Outputs
from trials.latency.onnx_program import silence


class Program(Format):
    """With a free batch size."""

    name: ClassVar[str] = "model.pt2"
    nearness: ClassVar[Nearness] = "rounding"
    usage: ClassVar[str] = 'network = torch.export.load("model.pt2").module()'
    run_as: ClassVar[str] = "torch.export.load, in this process"

    def write(self, job: Job) -> None:
        content = io.BytesIO()  # torch's own writer ends the process where the disk is full
        with silence():
            torch.export.save(job.program, content)
        (job.folder / self.name).write_bytes(content.getbuffer())

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        if place.strange:
            with alone(self.name, place) as asked:
                yield asked
            return
        with self.failing_as_itself(), silence():
            network = torch.export.load(place.folder / self.name).module()

        def forward(inputs: Tensor) -> Outputs:
            with self.failing_as_itself():
                answers = network(inputs)
                tensors = (answers,) if isinstance(answers, Tensor) else answers
                return dict(zip(place.names, tensors, strict=True))

        yield Here(self.name, forward)
