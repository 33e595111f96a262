"""model.int8.onnx: the ONNX graph in eight bits, quantised statically by ONNX Runtime on real images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from torch import Tensor

from nas.export.errors import ExportError
from nas.export.formats.format import Format, Job, Nearness, Place, Runner, cause
from nas.export.formats.onnx_graph import onnx_runner, write_onnx
from nas.export.standalone import normalise

#: Images that the ranges of activations are taken from.
IMAGES = 128
BATCH = 16


class OnnxInt8(Format):
    """QDQ: int8 weights per channel, uint8 activations. On a processor without VNNI it can be slower than float32."""

    name: ClassVar[str] = "model.int8.onnx"
    default: ClassVar[bool] = False
    nearness: ClassVar[Nearness] = "lossy"
    usage: ClassVar[str] = 'session = onnxruntime.InferenceSession("model.int8.onnx")'
    run_as: ClassVar[str] = "ONNX Runtime, CPUExecutionProvider"

    def write(self, job: Job) -> None:
        inputs = ranging(job)
        with TemporaryDirectory(prefix="fusion-nas-int8-") as scratch:
            whole = job.folder / "model.onnx"
            if not whole.is_file():
                whole = Path(scratch) / "model.onnx"
                write_onnx(job.trained, job.network, whole)
            job.facts[self.name] = {"images": len(inputs), **quantise(whole, job.folder / self.name, inputs)}

    @contextmanager
    def runner(self, place: Place) -> Iterator[Runner]:
        yield onnx_runner(self, place.folder / self.name)


def ranging(job: Job) -> Tensor:
    """float32 [N, C, H, W] that the ranges of activations are taken from. Raises ExportError where there are none."""
    if job.images is None:
        raise ExportError("int8 needs images to take ranges from: give the validation split")
    images = job.images[:: max(1, len(job.images) // IMAGES)][:IMAGES]
    return normalise(images.cpu(), job.trained.mean, job.trained.std)


def quantise(source: Path, target: Path, inputs: Tensor) -> dict[str, Any]:
    """`source` in eight bits, with the ranges that float32 `inputs` [N, C, H, W] cause; what was done, JSON.

    Raises:
        ExportError: ONNX Runtime cannot.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(torch.split(inputs, BATCH))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._left, None)
            return None if batch is None else {"images": batch.numpy()}

    prepared = target.with_name(f".{target.name}.prepared")
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            how = _prepared(source, prepared)
            quantize_static(
                str(source if how == "not at all" else prepared),
                str(target),
                Batches(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
    except Exception as error:  # whatever ONNX Runtime meets
        target.unlink(missing_ok=True)
        raise ExportError(f"ONNX Runtime cannot quantise it: {cause(error)}") from error
    finally:
        logging.disable(disabled)
        prepared.unlink(missing_ok=True)
    return {"prepared": how}


def _prepared(source: Path, target: Path) -> str:
    """Let ONNX Runtime fold and fuse what it can before; how far that went.

    Its symbolic shapes do not follow every graph: that of CBAM ends in a TypeError.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    for skip, how in ((False, "with symbolic shapes"), (True, "without symbolic shapes")):
        with suppress(Exception):
            quant_pre_process(str(source), str(target), skip_symbolic_shape=skip)
            return how
    return "not at all"
