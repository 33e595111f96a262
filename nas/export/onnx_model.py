"""model.onnx: written by torch.onnx, checked by onnx, run by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from nas.export.errors import ExportError
from nas.export.kinds import Outputs
from nas.export.trained import LAYOUT, TrainedNetwork
from trials.latency.onnx_program import onnx_program


def write_onnx(trained: TrainedNetwork, network: nn.Module, path: Path) -> None:
    """The network with a free batch size, weights inside: float32 `images` [N, C, size, size] -> its named outputs.

    Raises:
        ExportError: an operator cannot be expressed in ONNX.
    """
    spec = trained.space.input
    outputs = trained.kind.outputs
    try:
        image = torch.zeros(1, spec.channels, spec.size, spec.size)
        model = onnx_program(network, image, [output.name for output in outputs])
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever torch's exporter meets, the user's next step is the same
        raise ExportError(
            f"{trained.architecture.key} cannot be written as ONNX: {_cause(error)}; choose other operators, or write "
            "that step without decisions by a tensor's values"
        ) from error
    onnx.helper.set_model_props(
        model,
        {
            "architecture": trained.architecture.key,
            "architecture_json": trained.architecture.canonical_json,
            "classes": json.dumps(trained.classes, ensure_ascii=False),
            "mean": json.dumps(trained.mean),
            "std": json.dumps(trained.std),
            "layout": LAYOUT,
            "fitting": trained.kind.fitting,
            "description": json.dumps(trained.kind.description(trained.classes), ensure_ascii=False),
        },
    )
    onnx.save_model(model, str(path))


def _cause(error: BaseException) -> str:
    """What torch's exporter met, without the advice that it wraps around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def onnx_forward(path: Path) -> Callable[[Tensor], Outputs]:
    """A function that runs the file: float32 [N, C, H, W] -> its outputs by name, on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    names = [output.name for output in session.get_outputs()]

    def forward(inputs: Tensor) -> Outputs:
        answers = session.run(names, {"images": inputs.contiguous().numpy()})
        return dict(zip(names, map(torch.from_numpy, answers), strict=True))

    return forward
