"""Is an exported folder what was exported, and safe to load? Asked of the folder alone."""

from __future__ import annotations

import ast
import io
import json
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from nas.export import isolated
from nas.export.errors import ArtefactError, ExportError
from nas.export.formats import FORMATS, Place, Runner
from nas.export.hashes import wrong_hashes
from nas.export.parity import BATCHES, Gap
from nas.export.trained import FORMAT

#: What a checked file is opened with; nothing of it may run on the way.
_SAFE_TEXT = (".py", ".json", ".md", ".txt", ".xml")


def verify(folder: Path) -> dict[str, Any]:
    """Check hashes, what model.py imports, that no file is a pickle that runs code, and the artefacts' agreement.

    Nothing of the folder is run unless its hashes are right and model.py imports no more than it says.

    Returns:
        `passed`; `wrong`: by file what is wrong with it; `differences`: by artefact, batch and output the largest
        difference as a share of the largest value of the first artefact that runs.

    Raises:
        ExportError: it is no folder with an export in it.
    """
    document = _description(folder)
    wrong = wrong_hashes(folder)
    if not wrong:
        wrong = {**_imports(folder, document), **_pickles(folder)}
    differences: dict[str, Any] = {}
    if not wrong:
        differences, wrong = _agreement(folder, document)
    return {"passed": not wrong, "wrong": wrong, "differences": differences}


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


def _imports(folder: Path, document: dict[str, Any]) -> dict[str, str]:
    if not (folder / "model.py").is_file():
        return {}
    said = document.get("model.py", {})
    may = {"torch", *said.get("needs", []), *(name.split("/")[1].removesuffix(".py") for name in said.get("files", []))}
    tops: set[str] = set()
    for node in ast.walk(ast.parse((folder / "model.py").read_bytes())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops.add((node.module or "").partition(".")[0])
    more = sorted(tops - may - set(sys.stdlib_module_names))
    return {"model.py": f"imports {', '.join(more)}, which arch.json does not say"} if more else {}


def _pickles(folder: Path) -> dict[str, str]:
    """Files, or parts of archives, that torch would not read without running code."""
    wrong: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in _SAFE_TEXT or "__pycache__" in path.parts:
            continue
        if path.name == "weights.pt":
            if not _plain_tensors(path.read_bytes()):
                wrong[path.name] = "is no file of tensors alone"
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = [name for name in archive.namelist() if name.endswith((".pt", ".pkl", ".pickle"))]
                bad = [name for name in inside if not _plain_tensors(archive.read(name))]
            if bad:
                wrong[path.name] = f"holds {bad[0]}, a pickle that runs code"
        elif path.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            wrong[path.name] = "is a pickle, which runs code when it is read"
    return wrong


def _plain_tensors(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # whatever is met in a file that is something else
        return False
    return True


def _agreement(folder: Path, document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """How far the artefacts are from the first of them that runs, and those that are farther than they were."""
    outputs = document.get("outputs") or [document["output"]]
    spec = document["input"]
    place = Place(folder, tuple(output["name"] for output in outputs))
    report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    differences: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    with ExitStack() as stack:
        stack.enter_context(isolated.one_thread())
        runners: dict[str, Runner] = {}
        for form in FORMATS:
            if (folder / form.name).is_file() and form.missing() is None:
                try:
                    runners[form.name] = stack.enter_context(form.runner(place))
                except ArtefactError as error:
                    wrong[form.name] = str(error)
        generator = torch.Generator().manual_seed(0)
        for size in BATCHES:
            batch = torch.randn(size, spec["channels"], *_sides(spec), generator=generator)
            answers = {}
            for name, runner in runners.items():
                try:
                    answers[name] = runner.ask(batch)()
                except ArtefactError as error:
                    wrong[name] = str(error)
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


def _sides(spec: dict[str, Any]) -> tuple[int, int]:
    return spec.get("height", spec["size"]), spec.get("width", spec["size"])
