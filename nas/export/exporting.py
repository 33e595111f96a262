"""One export from beginning to end: write everything, check each artefact against the network, then publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nas.export.construction import construction
from nas.export.errors import ArtefactError, ExportError
from nas.export.folder import refuse_foreign, staged
from nas.export.generation import generate
from nas.export.modules import OWN_PACKAGES
from nas.export.onnx_model import write_onnx
from nas.export.parity import check_parity, write_report
from nas.export.trained import TrainedNetwork, write_description, write_weights
from nas.export.validation import Judge, Validation


def _quiet(_: str) -> None:
    return None


def export_network(
    trained: TrainedNetwork,
    out: Path,
    validation: Validation | None = None,
    announce: Callable[[str], None] = _quiet,
) -> dict[str, Any]:
    """Write arch.json, weights.safetensors, model.py, model.onnx and parity.json into `out`; the parity report.

    `validation` is the split on which the artefacts are compared with what was recorded of the network, see
    `validation_of`. An earlier export in `out` is replaced as a whole. A model.py or model.onnx that cannot be made, or
    does not agree with the network where the other does, is left out: `left_out` of the report says why.

    Raises:
        TaskError: the network and the split do not belong together.
        ExportError: no artefact agrees with the network, or `out` holds other files.
            Nothing is left at `out` then, and an earlier export stays as it was.
    """
    refuse_foreign(out)  # before any work
    network = trained.build()
    judge = None if validation is None else validation.judge(trained, network)
    left_out: dict[str, str] = {}
    with staged(out) as folder:
        announce("writing weights.safetensors and model.py")
        write_weights(trained, network, folder / "weights.safetensors")
        packages: list[str] = []
        try:
            source = generate(trained)
            packages = source.packages
            (folder / "model.py").write_text(source.text, encoding="utf-8")
        except ExportError as error:
            left_out["model.py"] = str(error)
        announce("writing model.onnx")
        try:
            write_onnx(trained, network, folder / "model.onnx")
        except ExportError as error:
            left_out["model.onnx"] = str(error)
        announce("comparing model.py and model.onnx with the trained network")
        report = _sound(trained, network, folder, judge, packages, left_out)
        write_description(trained, packages, report["left_out"], folder / "arch.json")
        write_report(report, folder / "parity.json")
    for name, reason in report["left_out"].items():
        announce(f"{name} is left out: {reason}")
    announce(f"exported to {out}")
    return report


def _sound(
    trained: TrainedNetwork,
    network: nn.Module,
    folder: Path,
    judge: Judge | None,
    packages: list[str],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """The parity report without the artefacts that do not compute what the network does, whose files are deleted.

    Raises:
        ArtefactError: both could be made, and neither does.
    """
    refused, made = _not_needed(trained, packages), 2 - len(left_out)
    wrong: dict[str, ArtefactError] = {}
    while True:
        try:
            return check_parity(trained, network, folder, judge, refused, {**left_out, **_texts(wrong)})
        except ArtefactError as error:
            wrong[error.artefact] = error
            if len(wrong) == made == 2:  # one could be its exporter's fault; of both, the network is strange
                raise next(iter(wrong.values())) from None
            (folder / error.artefact).unlink()


def _texts(errors: Mapping[str, ArtefactError]) -> dict[str, str]:
    return {name: str(error) for name, error in errors.items()}


def _not_needed(trained: TrainedNetwork, packages: list[str]) -> list[str]:
    """What model.py must do without: this package, the operators' own modules, what is used besides torch to make it.

    The last are left alone where model.py imports more than torch: torchvision itself looks for onnx.
    """
    homes = construction(trained.space, trained.architecture).homes
    tools = {"safetensors", "onnx", "onnxruntime"} if packages == ["torch"] else set()
    return sorted({*OWN_PACKAGES, *tools, *homes} - {"__main__"})
