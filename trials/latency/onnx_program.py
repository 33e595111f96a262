"""A network as an ONNX program, by torch.onnx: what `nas export` ships and what ONNX Runtime is timed with."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import onnx

OPSET = 20


def onnx_program(
    network: nn.Module | torch.export.ExportedProgram, image: torch.Tensor, outputs: Sequence[str] = ("logits",)
) -> onnx.ModelProto:
    """The network in eval mode with a free batch size, weights inside: `images` [N, C, H, W] -> what it returns.

    `image` [1, C, H, W] gives size and dtype; `outputs` names the tensors returned in order, torch those beyond. What
    torch.export made of a network, with a free batch size, does as well. Raises whatever torch's exporter meets.
    """
    example = image.new_zeros(2, *image.shape[1:])  # a batch of 1 would be taken for a constant
    whole = isinstance(network, nn.Module)
    with silence():
        program = torch.onnx.export(
            network,
            (example,) if whole else (),
            input_names=["images"],
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},) if whole else None,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_batch(model)
    return model


def _name_batch(model: onnx.ModelProto) -> None:
    """A program's own name of the batch's size means nothing to a reader."""
    found = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if found and dim.dim_param:
                dim.dim_param = re.sub(rf"\b{re.escape(found)}\b", "batch", dim.dim_param)


@contextmanager
def silence() -> Iterator[None]:
    """torch's exporter reports its progress by every road there is."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(disabled)
