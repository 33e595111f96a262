"""Do the exported artefacts compute what the trained network computes? Every output, and what was recorded."""

from __future__ import annotations

import copy
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.export import isolated
from nas.export.alone import Ask, model_alone
from nas.export.errors import ArtefactError
from nas.export.kinds import Outputs
from nas.export.onnx_model import onnx_forward
from nas.export.standalone import normalise
from nas.export.trained import TrainedNetwork
from nas.export.validation import Judge

#: Of an output's largest value: some eighty times float32's rounding.
TOLERANCE = 1e-5
#: Another runtime sums in another order. In a deep network that alone can pass the tolerance (1e-4 was seen in
#: ResNet-50), so it may differ by as many times the network's own distance from float64, up to a ceiling.
ROUNDINGS = 4
CEILING = 1e-3
#: Images of which the outputs are compared one batch at once, where as many are evaluated together.
REAL_BATCH = 64

#: Of everybody that was asked, by name; the trained network is "network".
Answers = Mapping[str, Outputs]


@dataclass(frozen=True)
class Asked:
    """The trained network and what was made of it; None for what could not be made."""

    network: Callable[[Tensor], Outputs]
    model: Ask | None
    onnx: Callable[[Tensor], Outputs] | None

    def answers(self, inputs: Tensor, images: Tensor | None = None) -> Answers:
        """To float32 [N, C, H, W]; model.py makes them of the uint8 `images` itself where it is given these."""
        meanwhile = None if self.model is None else self.model(inputs if images is None else images)
        found = {"network": self.network(inputs)}
        onnx = None if self.onnx is None else self.onnx(inputs)
        if meanwhile is not None:
            found["model.py"] = meanwhile.result()
        if onnx is not None:
            found["model.onnx"] = onnx
        return found


@dataclass(frozen=True)
class Gap:
    """How far an output of an artefact is from the network's, in batches taken together."""

    difference: float = 0.0
    largest: float = 0.0
    equal: bool = True

    def widened(self, expected: Tensor, given: Tensor) -> Gap:
        """By one batch more; NaN is a difference, and so is another shape."""
        difference = (given - expected).abs().max().item() if given.shape == expected.shape else math.nan
        return Gap(
            max(difference, self.difference),  # in this order, as nothing is larger than a NaN that comes first
            max(self.largest, expected.abs().max().item()),
            self.equal and bool(torch.equal(given, expected)),
        )


@dataclass
class Gaps:
    """The gaps of all artefacts, by what they were asked."""

    found: dict[tuple[str, str, str], Gap] = field(default_factory=dict)

    def widen(self, question: str, answers: Answers) -> None:
        for artefact in answers.keys() - {"network"}:
            for output, expected in answers["network"].items():
                key = (artefact, question, output)
                self.found[key] = self.found.get(key, Gap()).widened(expected, answers[artefact][output])
                if math.isnan(self.found[key].difference):
                    raise _too_wide(key, self.found[key], 0.0)

    def check(self, allowed: Mapping[str, float]) -> None:
        """Raises ExportError where an artefact is farther away than it may be, as a share of the largest value."""
        for key, gap in self.found.items():
            if not gap.difference <= allowed[key[0]] * gap.largest:
                raise _too_wide(key, gap, allowed[key[0]])

    def rows(self, artefact: str) -> list[dict[str, Any]]:
        return [
            {
                "batch": question,
                "output": output,
                "max_abs_difference": gap.difference,
                "largest": gap.largest,
                "relative": gap.difference / gap.largest if gap.largest else 0.0,
                "equal": gap.equal,
            }
            for (name, question, output), gap in self.found.items()
            if name == artefact
        ]


def _too_wide(key: tuple[str, str, str], gap: Gap, allowed: float) -> ArtefactError:
    artefact, question, output = key
    return ArtefactError(
        artefact,
        f"{artefact} differs from the trained network by {gap.difference:.3g} in {output} ({question}), "
        f"above {allowed:.1g} of the largest, {gap.largest:.3g}: keep the run and report it",
    )


def check_parity(
    trained: TrainedNetwork,
    network: nn.Module,
    folder: Path,
    judge: Judge | None,
    refused: list[str],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """The report of parity.json: model.py in its own process, model.onnx in ONNX Runtime, each against the network.

    model.py, which is the same computation, must stay within TOLERANCE; model.onnx within what rounding explains. Those
    in `left_out` are not there.

    Raises:
        ArtefactError: an artefact does not run, or differs by more than the tolerance.
        ExportError: what was recorded is not met.
    """
    network = network.to(memory_format=torch.channels_last)
    names = [output.name for output in trained.kind.outputs]
    gaps, rounding, verdict = Gaps(), 0.0, {}
    with ExitStack() as stack:
        stack.enter_context(isolated.one_thread())
        model = onnx = None
        if "model.py" not in left_out:
            model = stack.enter_context(model_alone(folder / "model.py", names, refused))
        if "model.onnx" not in left_out:
            onnx = _runs(folder / "model.onnx")
        asked = Asked(lambda inputs: isolated.outputs_of(network, inputs, names), model, onnx)
        exact = copy.deepcopy(network).double()
        for question, inputs in batches_to_ask(trained, judge).items():
            answers = asked.answers(inputs)
            gaps.widen(question, answers)
            rounding = max(rounding, own_rounding(exact, inputs, answers["network"]))
        allowed = {"model.py": TOLERANCE, "model.onnx": min(CEILING, max(TOLERANCE, ROUNDINGS * rounding))}
        allowed = {name: share for name, share in allowed.items() if name not in left_out}
        gaps.check(allowed)
        if judge is not None:
            readings = _readings(trained, judge, asked, gaps)
            gaps.check(allowed)
            verdict = judge.verdict(readings, max(allowed.values(), default=TOLERANCE))
    return {
        "passed": True,
        "tolerance": {
            "relative": allowed,
            "to": "the largest absolute value of the trained network's output on the batch",
            "own_rounding": rounding,
            "model.onnx": f"{ROUNDINGS} times own_rounding (the network in float32 against itself in float64), "
            f"at least {TOLERANCE:g}, at most {CEILING:g}",
        },
        "artefacts": {name: {"batches": gaps.rows(name)} for name in allowed},
        "left_out": dict(left_out),
        "accuracy": None,
        "figures": None,
        **verdict,
        "run_as": {
            "model.py": "python -I in a process of its own that cannot import " + ", ".join(refused),
            "model.onnx": "ONNX Runtime, CPUExecutionProvider",
        },
        "settings": {
            "dtype": "float32",
            "threads": 1,
            "batch": None if judge is None else judge.batch_size,
            "memory_format": "channels_last",
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        },
    }


def _runs(path: Path) -> Callable[[Tensor], Outputs]:
    """The file in ONNX Runtime. What that does not run is said of the file."""

    def failed(error: Exception) -> ArtefactError:
        return ArtefactError(path.name, f"ONNX Runtime does not run it: {' '.join(str(error).split())[:200]}")

    try:
        forward = onnx_forward(path)
    except Exception as error:
        raise failed(error) from error

    def run(inputs: Tensor) -> Outputs:
        try:
            return forward(inputs)
        except Exception as error:
            raise failed(error) from error

    return run


def batches_to_ask(trained: TrainedNetwork, judge: Judge | None) -> dict[str, Tensor]:
    """float32 batches by name: random ones of two sizes and, where there is a split, the first of its images."""
    spec = trained.space.input
    generator = torch.Generator().manual_seed(0)
    batches = {
        f"random, batch {size}": torch.randn(size, spec.channels, spec.size, spec.size, generator=generator)
        for size in (1, 5)
    }
    if judge is not None:
        real = judge.images[: min(REAL_BATCH, judge.batch_size)]
        batches[f"real, batch {len(real)}"] = normalise(real, trained.mean, trained.std)
    return batches


def own_rounding(exact: nn.Module, inputs: Tensor, reference: Outputs) -> float:
    """How far the network in float32 is from itself in float64, `exact`, relative to the largest value of an output."""
    few = inputs[:8]  # float64 is slow
    try:
        answers = isolated.outputs_of(exact, few.double(), list(reference))
    except RuntimeError:  # an operator that insists on float32
        return 0.0
    worst = 0.0
    for name, expected in answers.items():
        largest = reference[name].abs().max().item()
        difference = (expected - reference[name][: len(few)]).abs().max().item()
        worst = max(worst, difference / largest if largest else 0.0)
    return worst


def _readings(trained: TrainedNetwork, judge: Judge, asked: Asked, gaps: Gaps) -> dict[str, Sequence[Any]]:
    """What everybody's outputs for the images of the split mean, batch by batch: all of them would fill the memory."""
    readings: dict[str, list[Any]] = {}
    images = judge.images
    for places in torch.split(torch.arange(len(images)), judge.batch_size):
        batch = images[places]
        answers = asked.answers(normalise(batch, trained.mean, trained.std), batch)
        gaps.widen(f"all {len(images)} images", answers)
        for name, outputs in answers.items():
            readings.setdefault(name, []).append(judge.read(outputs, places))
    return dict(readings)


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """parity.json."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
