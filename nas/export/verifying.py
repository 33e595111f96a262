"""Is an exported folder what was exported, and safe to load? Asked of the folder alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.export import hashes, isolated
from nas.export.errors import ArtefactError, ExportError
from nas.export.folder import OURS, changed
from nas.export.formats import FORMATS, Place, Runner
from nas.export.formats.format import cause
from nas.export.formats.onnx_detection import NAME as DETECTION
from nas.export.formats.onnx_detection import disagreement
from nas.export.imported import compiled, hiding, links, packages_said, wrong_imports
from nas.export.kinds import Outputs
from nas.export.parity import BATCHES, Gap
from nas.export.pickles import wrong_pickles
from nas.export.trained import FORMAT

#: Where two boxes overlap by just what is allowed, rounding decides which of them stays.
MAX_ALONE = 0.02


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
    document = _description(folder)
    wrong, foreign = changed(folder)
    planted, left = compiled(folder, hashes.named(folder))
    wrong |= {**planted, **hiding(folder, OURS), **links(folder)}
    notes = {name: why for name, why in {**foreign, **left}.items() if name not in wrong}
    if not wrong:
        wrong = {**wrong_imports(folder, document), **wrong_pickles(folder, foreign)}
    differences: dict[str, Any] = {}
    if not wrong and run:
        if (folder / "model.py").is_file() and (more := packages_said(document)):
            notes["model.py"] = f"imports {', '.join(more)}, as arch.json says: it was not run"
        notes |= {
            form.name: f"was not run: {why}"
            for form in FORMATS
            if (folder / form.name).is_file() and (why := form.missing()) is not None
        }
        differences, wrong = _agreement(folder, document, notes)
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


def _description(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "arch.json").read_text(encoding="utf-8"))
        known = document["format"] == FORMAT
    except OSError:
        raise ExportError(f"{folder} holds no arch.json: give a folder that nas export wrote") from None
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        return {}  # its hash says that it was changed
    assert isinstance(document, dict)
    return document


def _agreement(
    folder: Path, document: dict[str, Any], not_run: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """How far the artefacts are from the first of them that runs, and those that are farther than they were."""
    outputs = document.get("outputs") or [document["output"]]
    spec = document["input"]
    place = Place(folder, tuple(output["name"] for output in outputs), strange=True)
    report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
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
            batch = torch.randn(size, spec["channels"], *_sides(spec), generator=generator)
            answers: dict[str, Outputs] = {}
            for name, runner in list(runners.items()):
                try:
                    answers[name] = _named(name, runner.ask(batch)(), place)
                except ArtefactError as error:
                    wrong[name] = str(error)
                    del runners[name]  # one that has ended can be asked nothing more
            first = next(iter(answers), None)
            for name, found in answers.items():
                most = report["artefacts"].get(name, {}).get("allowed")
                for output, expected in answers[first or name].items():
                    gap = Gap().widened(expected, found[output])
                    differences.setdefault(name, {})[f"batch {size}, {output}"] = gap.relative
                    # Each was as near to the trained network as its tolerance: two of them may be twice as far apart.
                    if most is not None and not gap.relative <= 2 * max(most, 1e-5):
                        wrong[name] = f"differs from {first} by {gap.relative:.2g} of the largest value of {output}"
    return differences, wrong


def _named(artefact: str, answer: object, place: Place) -> Outputs:
    """The outputs, where they are those that arch.json names. Raises ArtefactError for anything else."""
    if not isinstance(answer, dict) or set(answer) != set(place.names):
        raise ArtefactError(artefact, f"{artefact} answers other outputs than arch.json names")
    if not all(isinstance(tensor, Tensor) and tensor.is_floating_point() for tensor in answer.values()):
        raise ArtefactError(artefact, f"{artefact} answers with what are no numbers in floating point")
    return answer


def _detections(folder: Path, document: dict[str, Any]) -> dict[str, float]:
    """How much of what detect.onnx finds in dense outputs drawn at random plain torch does not."""
    generator = torch.Generator().manual_seed(0)
    outputs = {one["name"]: one["shape"][1:] for one in document["outputs"]}
    found: dict[str, float] = {}
    for what, shift in (("crowded", 0.0), ("sparse", -4.0)):
        dense = {name: torch.randn(1, *shape, generator=generator) for name, shape in outputs.items()}
        dense["cls_logits"] += shift
        found[f"{what}, share of boxes"] = disagreement(folder / DETECTION, document, dense)
    return found


def _sides(spec: dict[str, Any]) -> tuple[int, int]:
    return spec.get("height", spec["size"]), spec.get("width", spec["size"])
