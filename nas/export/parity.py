"""Do the exported artefacts compute what the trained network computes? Logits, and the recorded accuracy."""

from __future__ import annotations

import copy
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from nas.export import isolated
from nas.export.errors import ExportError
from nas.export.onnx_model import onnx_forward
from nas.export.standalone import normalise
from nas.export.trained import TrainedNetwork

#: Of the largest logit: some eighty times float32's rounding.
TOLERANCE = 1e-5
#: Another runtime sums in another order. In a deep network that alone can pass the tolerance (1e-4 was seen in
#: ResNet-50), so it may differ by as many times the network's own distance from float64, up to a ceiling.
ROUNDINGS = 4
CEILING = 1e-3
#: Images of which the logits are compared one batch at once.
REAL_BATCH = 64


@dataclass(frozen=True)
class Answers:
    """Logits of the named batches and, where there are images, of all of them."""

    batches: Mapping[str, Tensor]
    images: Tensor | None


@dataclass(frozen=True)
class Questions:
    """What the network and each artefact are asked: float32 batches, and the uint8 images of the accuracy."""

    batches: Mapping[str, Tensor]
    images: Tensor | None
    labels: Tensor | None

    @classmethod
    def of(cls, trained: TrainedNetwork, images: Tensor | None, labels: Tensor | None) -> Questions:
        spec = trained.space.input
        generator = torch.Generator().manual_seed(0)
        batches = {
            f"random, batch {size}": torch.randn(size, spec.channels, spec.size, spec.size, generator=generator)
            for size in (1, 5)
        }
        if (images is None) != (labels is None):
            raise ExportError("images and labels go together: give both or neither")
        if images is None or labels is None or len(images) == 0:
            return cls(batches, None, None)
        expected = (len(labels), spec.channels, spec.size, spec.size)
        if tuple(images.shape) != expected or images.dtype != torch.uint8:
            raise ExportError(f"images are {images.dtype} {list(images.shape)}: give uint8 {list(expected)}")
        images = images.cpu()
        real = images[:REAL_BATCH]
        batches[f"real, batch {len(real)}"] = normalise(real, trained.mean, trained.std)
        return cls(batches, images, labels.cpu())

    def ask(self, forward: Callable[[Tensor], Tensor], trained: TrainedNetwork) -> Answers:
        """The answers of something that runs in this process."""
        with isolated.one_thread():
            answers = {name: forward(batch) for name, batch in self.batches.items()}
            if self.images is None:
                return Answers(answers, None)
            scaled = isolated.logits_of_images(
                forward, lambda batch: normalise(batch, trained.mean, trained.std), self.images
            )
            return Answers(answers, scaled)


def check_parity(
    trained: TrainedNetwork, network: nn.Module, folder: Path, questions: Questions, refused: list[str]
) -> dict[str, Any]:
    """The report of parity.json: model.py in its own process, model.onnx in ONNX Runtime, each against the network.

    model.py, which is the same computation, must stay within TOLERANCE; model.onnx within what rounding explains.

    Raises:
        ExportError: an artefact differs by more than the tolerance, or the recorded accuracy is not met.
    """
    network = network.to(memory_format=torch.channels_last)
    with ThreadPoolExecutor(1) as pool:  # the other process starts meanwhile
        asked = pool.submit(ask_model, folder / "model.py", questions, refused)
        reference = questions.ask(lambda batch: isolated.logits_of(network, batch), trained)
        rounding = own_rounding(network, questions, reference)
        onnx_answers = questions.ask(onnx_forward(folder / "model.onnx"), trained)
        artefacts = {"model.py": asked.result(), "model.onnx": onnx_answers}
    allowed = {"model.py": TOLERANCE, "model.onnx": min(CEILING, max(TOLERANCE, ROUNDINGS * rounding))}
    report: dict[str, Any] = {
        "passed": True,
        "tolerance": {
            "relative": allowed,
            "to": "the largest absolute logit of the trained network on the batch",
            "own_rounding": rounding,
            "model.onnx": f"{ROUNDINGS} times own_rounding (the network in float32 against itself in float64), "
            f"at least {TOLERANCE:g}, at most {CEILING:g}",
        },
        "artefacts": {
            name: {"batches": _compare(name, reference, answers, allowed[name])} for name, answers in artefacts.items()
        },
        "accuracy": _accuracy(trained, reference, artefacts, questions.labels, max(allowed.values())),
        "run_as": {
            "model.py": "python -I in a process of its own that cannot import " + ", ".join(refused),
            "model.onnx": "ONNX Runtime, CPUExecutionProvider",
        },
        "settings": {"dtype": "float32", "threads": 1, "batch": isolated.BATCH, "memory_format": "channels_last"},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        },
    }
    return report


def own_rounding(network: nn.Module, questions: Questions, reference: Answers) -> float:
    """How far the network in float32 is from itself in float64, relative to the largest logit."""
    exact = copy.deepcopy(network).double()
    worst = 0.0
    for name, batch in questions.batches.items():
        few = batch[:8]  # float64 is slow
        try:
            difference = isolated.logits_of(exact, few.double()) - reference.batches[name][: len(few)]
        except RuntimeError:  # an operator that insists on float32
            return 0.0
        largest = reference.batches[name].abs().max().item()
        worst = max(worst, difference.abs().max().item() / largest if largest else 0.0)
    return worst


def ask_model(model: Path, questions: Questions, refused: list[str]) -> Answers:
    """Load model.py in a process that can import torch and not us, and ask it there."""
    with TemporaryDirectory(prefix="fusion-nas-parity-") as scratch:
        request, answer = Path(scratch, "request.pt"), Path(scratch, "answer.pt")
        asked = {
            "model": str(model.resolve()),
            "refused": refused,
            "batches": dict(questions.batches),
            "images": questions.images,
        }
        torch.save(asked, request)
        # -I hides PYTHONPATH and the user's site, where torch itself may live.
        torch_home = str(Path(torch.__file__).parents[1])
        start = (
            "import runpy, sys; script, home, *sys.argv[1:] = sys.argv[1:]; sys.path.append(home); "
            "runpy.run_path(script, run_name='__main__')"
        )
        command = [sys.executable, "-I", "-B", "-c", start, str(Path(isolated.__file__).resolve()), torch_home]
        done = subprocess.run(
            [*command, str(request), str(answer)],
            cwd=scratch,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise ExportError(f"the generated model.py does not run by itself: {last}")
        answers: dict[str, Tensor] = torch.load(answer, weights_only=True)
    images = answers.pop("images", None)
    return Answers(answers, images)


def _compare(artefact: str, reference: Answers, answers: Answers, allowed: float) -> list[dict[str, Any]]:
    pairs = [(name, logits, answers.batches[name]) for name, logits in reference.batches.items()]
    if reference.images is not None and answers.images is not None:
        pairs.append((f"all {len(reference.images)} images", reference.images, answers.images))
    rows = []
    for name, expected, given in pairs:
        largest = expected.abs().max().item()
        difference = (given - expected).abs().max().item() if given.shape == expected.shape else float("nan")
        if not difference <= allowed * largest:  # a NaN is a difference
            raise ExportError(
                f"{artefact} differs from the trained network by {difference:.3g} in a logit ({name}), "
                f"above {allowed:.1g} of the largest, {largest:.3g}: keep the run and report it"
            )
        rows.append(
            {
                "batch": name,
                "max_abs_difference": difference,
                "largest_logit": largest,
                "relative": difference / largest if largest else 0.0,
                "equal": bool(torch.equal(given, expected)),
            }
        )
    return rows


def _accuracy(
    trained: TrainedNetwork, reference: Answers, artefacts: Mapping[str, Answers], labels: Tensor | None, allowed: float
) -> dict[str, Any] | None:
    if labels is None or reference.images is None:
        return None
    best, second = reference.images.topk(2).values.unbind(dim=1) if reference.images.shape[1] > 1 else (None, None)
    # Where two classes are this close, rounding may decide between them.
    margin = 2 * allowed * reference.images.abs().max()
    near_ties = 0 if best is None or second is None else int((best - second <= margin).sum())
    counts = {"network": _correct(reference.images, labels)}
    counts |= {
        name: _correct(answers.images, labels) for name, answers in artefacts.items() if answers.images is not None
    }
    recorded = trained.recorded()
    if recorded is not None:
        correct, images = recorded
        if images != len(labels):
            raise ExportError(f"{len(labels)} images were given, {images} were recorded: give the same split")
        counts = {"recorded": correct, **counts}
    for name, count in counts.items():
        if abs(count - counts["network"]) > near_ties:
            raise ExportError(
                f"{name} has {count} of {len(labels)} images right, the network here {counts['network']}: "
                "give the split, weights and preprocessing that were recorded"
            )
    return {
        "images": len(labels),
        "correct": counts,
        "near_ties": near_ties,
        "equal": len(set(counts.values())) == 1,
    }


def _correct(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) == labels).sum())


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """parity.json."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
