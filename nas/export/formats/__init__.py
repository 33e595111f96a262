"""The artefacts of an export, each independent of the others: a new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Sequence

from nas.export.errors import ExportError
from nas.export.formats.executorch_pte import ExecuTorch
from nas.export.formats.format import Format, Here, Job, Place, Runner
from nas.export.formats.int8 import OnnxInt8
from nas.export.formats.litert import LiteRt
from nas.export.formats.onnx_graph import OnnxGraph
from nas.export.formats.openvino_ir import OpenVino
from nas.export.formats.program import Program
from nas.export.formats.source import Source
from nas.export.formats.torch_int8 import TorchInt8

#: In the order in which they are written and told.
FORMATS: tuple[Format, ...] = (
    Source(),
    Program(),
    OnnxGraph(),
    OnnxInt8(),
    TorchInt8(),
    OpenVino(),
    ExecuTorch(),
    LiteRt(),
)


def chosen(names: Sequence[str] | None) -> tuple[Format, ...]:
    """Those of these names, or short ones of them (`onnx`); None is those that are written where nobody says.

    Raises:
        ExportError: there is no such format.
    """
    if names is None:
        return tuple(one for one in FORMATS if one.default)
    known = {word: one for one in FORMATS for word in (one.name, one.name.removeprefix("model."))}
    unknown = [name for name in names if name not in {*known, "all"}]
    if unknown:
        short = ", ".join(one.name.removeprefix("model.") for one in FORMATS)
        raise ExportError(f"there is no format {unknown[0]!r}: give all, or some of {short}")
    return FORMATS if "all" in names else tuple(one for one in FORMATS if one in [known[name] for name in names])


__all__ = ["FORMATS", "Format", "Here", "Job", "Place", "Runner", "chosen"]
