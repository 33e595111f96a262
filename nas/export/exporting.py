"""One export from beginning to end: write everything, check each artefact against the network, then publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.export.construction import construction
from nas.export.folder import refuse_foreign, staged
from nas.export.generation import generate
from nas.export.modules import OWN_PACKAGES
from nas.export.onnx_model import write_onnx
from nas.export.parity import check_parity, write_report
from nas.export.trained import TrainedNetwork, write_description, write_weights
from nas.export.validation import Validation


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
    `validation_of`. An earlier export in `out` is replaced as a whole.

    Raises:
        TaskError: the network and the split do not belong together.
        ExportError: the network cannot be exported, an artefact differs from it, or `out` holds other files.
            Nothing is left at `out` then, and an earlier export stays as it was.
    """
    refuse_foreign(out)  # before any work
    network = trained.build()
    judge = None if validation is None else validation.judge(trained, network)
    with staged(out) as folder:
        announce("writing weights.safetensors and model.py")
        write_weights(trained, network, folder / "weights.safetensors")
        source = generate(trained)
        (folder / "model.py").write_text(source.text, encoding="utf-8")
        write_description(trained, source.packages, folder / "arch.json")
        announce("writing model.onnx")
        write_onnx(trained, network, folder / "model.onnx")
        announce("comparing model.py and model.onnx with the trained network")
        report = check_parity(trained, network, folder, judge, _not_needed(trained, source.packages))
        write_report(report, folder / "parity.json")
    announce(f"exported to {out}")
    return report


def _not_needed(trained: TrainedNetwork, packages: list[str]) -> list[str]:
    """What model.py must do without: this package, the operators' own modules, what is used besides torch to make it.

    The last are left alone where model.py imports more than torch: torchvision itself looks for onnx.
    """
    homes = construction(trained.space, trained.architecture).homes
    tools = {"safetensors", "onnx", "onnxruntime"} if packages == ["torch"] else set()
    return sorted({*OWN_PACKAGES, *tools, *homes} - {"__main__"})
