"""A network as an ONNX program, by torch.onnx: what `nas export` ships and what ONNX Runtime is timed with."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    import onnx

OPSET = 20


def onnx_program(network: nn.Module, image: torch.Tensor, outputs: Sequence[str] = ("logits",)) -> onnx.ModelProto:
    """The network in eval mode with a free batch size, weights inside: `images` [N, C, H, W] -> what it returns.

    `image` [1, C, H, W] gives size and dtype; `outputs` names the tensors returned in order, torch those beyond. Raises
    whatever torch's exporter meets.
    """
    example = image.new_zeros(2, *image.shape[1:])  # a batch of 1 would be taken for a constant
    with _silence():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _silence() -> Iterator[None]:
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
