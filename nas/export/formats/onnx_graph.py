"""model.onnx: written by torch.onnx, checked by onnx, run by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from nas.export.detector import Detector
from nas.export.errors import ExportError
from nas.export.formats.format import Format, Here, Job, Place, Runner, cause
from nas.export.formats.onnx_detection import NAME, write_detection
from nas.export.kinds import Outputs
from nas.export.trained import LAYOUT, TrainedNetwork
from trials.latency.onnx_program import onnx_program


class OnnxGraph(Format):
    """With a free batch size, weights inside: float32 `images` [N, C, size, size] -> its named outputs."""

    name: ClassVar[str] = "model.onnx"
    beside: ClassVar[tuple[str, ...]] = (NAME,)
    usage: ClassVar[str] = 'session = onnxruntime.InferenceSession("model.onnx")'
    run_as: ClassVar[str] = "ONNX Runtime, CPUExecutionProvider"

    def write(self, job: Job) -> None:
        source: nn.Module | torch.export.ExportedProgram = job.network
        with suppress(ExportError):  # torch.onnx knows other ways
            source = job.program  # half of the work is done where model.pt2 is made of it too
        write_onnx(job.trained, source, job.folder / self.name)
        kind = job.trained.kind
        if isinstance(kind, Detector):
            spec, names = kind.input, [output.name for output in kind.outputs]
            told = write_detection(kind.decoding, names, spec.classes, spec.size, job.folder / NAME)
            job.facts[self.name] = {NAME: told}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        yield onnx_runner(self, place.folder / self.name)


def write_onnx(trained: TrainedNetwork, network: nn.Module | torch.export.ExportedProgram, path: Path) -> None:
    """The network as a file.

    Raises:
        ExportError: an operator cannot be expressed in ONNX.
    """
    outputs = [output.name for output in trained.kind.outputs]
    try:
        model = onnx_program(network, torch.zeros(1, *trained.space.input_shape), outputs)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever torch's exporter meets, the user's next step is the same
        raise ExportError(
            f"{trained.architecture.key} cannot be written as ONNX: {cause(error)}; choose other operators, or write "
            "that step without decisions by a tensor's values"
        ) from error
    onnx.helper.set_model_props(
        model,
        {
            "architecture": trained.architecture.key,
            "architecture_json": trained.architecture.canonical_json,
            "classes": json.dumps(trained.classes),
            "mean": json.dumps(trained.mean),
            "std": json.dumps(trained.std),
            "layout": LAYOUT,
            "fitting": trained.kind.fitting,
            "description": json.dumps(trained.kind.description(trained.classes)),
        },
    )
    onnx.save_model(model, str(path))


def onnx_runner(form: Format, path: Path) -> Here:
    """Runs a file on one CPU thread. Raises ArtefactError of that format where ONNX Runtime does not."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # what it cannot fuse is nobody's concern
    with form.failing_as_itself():
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def forward(inputs: Tensor) -> Outputs:
        with form.failing_as_itself():
            answers = session.run(names, {"images": inputs.contiguous().numpy()})
        return dict(zip(names, map(torch.from_numpy, answers), strict=True))

    return Here(form.name, forward)
