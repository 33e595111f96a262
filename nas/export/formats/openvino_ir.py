"""openvino.xml and its .bin: OpenVINO's own form, made of the ONNX graph; an optional package."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import torch
from torch import Tensor

from nas.export.errors import ExportError
from nas.export.formats.format import Format, Here, Job, Place, Runner, cause
from nas.export.formats.onnx_graph import write_onnx
from nas.export.kinds import Outputs


class OpenVino(Format):
    """Of the ONNX graph rather than of torch.export's program, of which it forgets height and width."""

    name: ClassVar[str] = "openvino.xml"
    beside: ClassVar[tuple[str, ...]] = ("openvino.bin",)
    default: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("openvino",)
    usage: ClassVar[str] = 'compiled = openvino.Core().compile_model("openvino.xml", "CPU")'
    run_as: ClassVar[str] = "OpenVINO, CPU, one thread"

    def write(self, job: Job) -> None:
        openvino = importlib.import_module("openvino")
        with TemporaryDirectory(prefix="fusion-nas-openvino-") as scratch:
            graph = job.folder / "model.onnx"
            if not graph.is_file():
                graph = Path(scratch) / "model.onnx"
                write_onnx(job.trained, job.network, graph)
            try:
                openvino.save_model(openvino.convert_model(str(graph)), str(job.folder / self.name), False)
            except Exception as error:  # whatever OpenVINO meets
                raise ExportError(f"OpenVINO cannot read the graph: {cause(error)}") from error

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        openvino = importlib.import_module("openvino")
        exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        with self.failing_as_itself():
            compiled = openvino.Core().compile_model(str(place.folder / self.name), "CPU", exact)

        def forward(inputs: Tensor) -> Outputs:
            with self.failing_as_itself():
                answers = compiled(inputs.contiguous().numpy())
                return {name: torch.from_numpy(answers[index].copy()) for index, name in enumerate(place.names)}

        yield Here(self.name, forward)
