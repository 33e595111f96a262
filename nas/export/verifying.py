"""Is an exported folder what was exported, and safe to load? Asked of the folder alone."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.export import hashes, isolated
from nas.export.errors import ArtefactError, ExportError
from nas.export.folder import OURS, changed
from nas.export.formats import FORMATS, Format, Place, Runner
from nas.export.formats.format import cause
from nas.export.formats.onnx_detection import NAME as DETECTION
from nas.export.formats.onnx_detection import disagreement
from nas.export.imported import compiled, hiding, links, packages_said, wrong_imports
from nas.export.kinds import Outputs
from nas.export.parity import BATCHES, CEILING, TOLERANCE, Gap
from nas.export.pickles import wrong_pickles
from nas.export.trained import FORMAT

#: Where two boxes overlap by just what is allowed, rounding decides which of them stays.
MAX_ALONE = 0.02
#: Of an image that arch.json says a network takes: as float32 1 GiB.
MAX_VALUES = 2**28


def verify(folder: Path, run: bool = True) -> dict[str, Any]:
    """Check hashes, what Python files import, that no file is a pickle that runs code, and the artefacts' agreement.

    The last runs the export's own code, model.py and what travels with it, each artefact of torch's in a process of
    its own: what was made to do harm can do it there. It is left out where anything is wrong before, and without `run`.

    Returns:
        `passed`; `wrong`: by file what is wrong with it; `notes`: what was passed over, and why; `differences`: by
        artefact, batch and output the largest difference as a share of the largest value of the first artefact that
        runs; of detect.onnx the share of boxes that it or plain torch alone finds.

    Raises:
        ExportError: it is no folder with an export in it.
    """
    document, report = _description(folder), _object(folder / "parity.json")
    wrong, foreign = changed(folder)
    for name, found in (("arch.json", document), ("parity.json", report)):
        if found is None:  # and SHA256SUMS may be of just that
            wrong.setdefault(name, "is not what was exported")
    planted, left = compiled(folder, hashes.named(folder))
    wrong |= {**planted, **hiding(folder, OURS), **links(folder)}
    notes = {name: why for name, why in {**foreign, **left}.items() if name not in wrong}
    if not wrong and document is not None:
        wrong = {**wrong_imports(folder, document), **wrong_pickles(folder, foreign)}
    differences: dict[str, Any] = {}
    if not wrong and run and document is not None and report is not None:
        if (folder / "model.py").is_file() and (more := packages_said(document)):
            notes["model.py"] = f"imports {', '.join(more)}, as arch.json says: it was not run"
        notes |= {
            form.name: f"was not run: {why}"
            for form in FORMATS
            if (folder / form.name).is_file() and (why := form.missing()) is not None
        }
        differences, wrong = _agreement(folder, document, report, notes)
        if (folder / DETECTION).is_file():
            try:
                differences[DETECTION] = _detections(folder, document)
            except Exception as error:  # whatever ONNX Runtime meets, or an arch.json of another network
                wrong[DETECTION] = f"does not run: {cause(error)}"
            else:
                alone = max(differences[DETECTION].values())
                if not alone <= MAX_ALONE:
                    wrong[DETECTION] = f"finds other boxes than the decoding of arch.json: {alone:.0%} are in one alone"
        if len(differences.keys() - {DETECTION}) == 1:
            notes.update(
                dict.fromkeys(differences.keys() - {DETECTION}, "was run, and there is no other to compare it with")
            )
    return {"passed": not wrong, "wrong": wrong, "notes": notes, "differences": differences}


def _description(folder: Path) -> dict[str, Any] | None:
    """arch.json, None where it is not one; of what it says that much is sure to be there that the checks need."""
    if not (folder / "arch.json").exists():
        raise ExportError(f"{folder} holds no arch.json: give a folder that nas export wrote")
    document = _object(folder / "arch.json")
    try:
        if document is None or document["format"] != FORMAT:
            return None
        shape = _shape(document)
        named = all(type(name) is str for name in _names(document))
        needs = document.get("model.py", {}).get("needs", [])
    except (KeyError, TypeError, AttributeError):
        return None
    sound = all(type(side) is int and side > 0 for side in shape) and math.prod(shape) <= MAX_VALUES
    return document if sound and named and isinstance(needs, list) else None


def _object(path: Path) -> dict[str, Any] | None:
    """Of a JSON file, None where there is none in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _shape(document: Mapping[str, Any]) -> tuple[int, int, int]:
    """Of an image: channels, height, width."""
    spec = document["input"]
    return spec["channels"], spec.get("height", spec["size"]), spec.get("width", spec["size"])


def _names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the outputs."""
    return tuple(output["name"] for output in document.get("outputs") or [document["output"]])


def _agreement(
    folder: Path, document: Mapping[str, Any], report: Mapping[str, Any], not_run: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """How far the artefacts are from the first of them that runs, one of float32 where there is one, and those that are
    farther than they may be."""
    place = Place(folder, _names(document), strange=True)
    most = {form.name: _allowed(form, report) for form in FORMATS}
    differences: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    with ExitStack() as stack:
        stack.enter_context(isolated.one_thread())
        runners: dict[str, Runner] = {}
        for form in FORMATS:
            if (folder / form.name).is_file() and form.name not in not_run:
                try:
                    runners[form.name] = stack.enter_context(form.runner(place))
                except ArtefactError as error:
                    wrong[form.name] = str(error)
        generator = torch.Generator().manual_seed(0)
        for size in BATCHES:
            batch = torch.randn(size, *_shape(document), generator=generator)
            answers: dict[str, Outputs] = {}
            for name, runner in list(runners.items()):
                try:
                    answers[name] = _named(name, runner.ask(batch)(), place)
                except ArtefactError as error:
                    wrong[name] = str(error)
                    del runners[name]  # one that has ended can be asked nothing more
            first = next((name for name in answers if most[name] is not None), next(iter(answers), None))
            for name, found in answers.items():
                for output, expected in answers[first or name].items():
                    gap, allowed = Gap().widened(expected, found[output]), most[name]
                    if not math.isfinite(gap.relative):
                        wrong[name] = f"answers with another shape or scale than {first} in {output}"
                        continue
                    differences.setdefault(name, {})[f"batch {size}, {output}"] = gap.relative
                    # Each was as near to the trained network as its tolerance: two of them may be twice as far apart.
                    if allowed is not None and not gap.relative <= 2 * allowed:
                        wrong[name] = f"differs from {first} by {gap.relative:.2g} of the largest value of {output}"
    return differences, wrong


def _allowed(form: Format, report: Mapping[str, Any]) -> float | None:
    """How far it may be from the trained network, as a share of the largest value; None for one of fewer bits.

    The kind of format decides: what parity.json allows is of the folder that is in question, and can but narrow it.
    """
    widest = {"same": TOLERANCE, "rounding": CEILING, "lossy": None}[form.nearness]
    try:
        told = report["artefacts"][form.name]["allowed"]
    except (KeyError, TypeError):
        return widest
    narrower = widest is not None and type(told) in (int, float) and TOLERANCE <= told <= widest
    return float(told) if narrower else widest


def _named(artefact: str, answer: object, place: Place) -> Outputs:
    """The outputs, where they are those that arch.json names. Raises ArtefactError for anything else."""
    if not isinstance(answer, dict) or set(answer) != set(place.names):
        raise ArtefactError(artefact, f"{artefact} answers other outputs than arch.json names")
    if not all(isinstance(tensor, Tensor) and tensor.is_floating_point() for tensor in answer.values()):
        raise ArtefactError(artefact, f"{artefact} answers with what are no numbers in floating point")
    if not all(bool(tensor.isfinite().all()) for tensor in answer.values()):
        raise ArtefactError(artefact, f"{artefact} answers with values that are not finite")
    return answer


def _detections(folder: Path, document: Mapping[str, Any]) -> dict[str, float]:
    """How much of what detect.onnx finds in dense outputs drawn at random plain torch does not."""
    generator = torch.Generator().manual_seed(0)
    outputs = {one["name"]: one["shape"][1:] for one in document["outputs"]}
    found: dict[str, float] = {}
    for what, shift in (("crowded", 0.0), ("sparse", -4.0)):
        dense = {name: torch.randn(1, *shape, generator=generator) for name, shape in outputs.items()}
        dense["cls_logits"] += shift
        found[f"{what}, share of boxes"] = disagreement(folder / DETECTION, document, dense)
    return found
