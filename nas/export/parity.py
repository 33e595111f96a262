"""Does each artefact compute what the trained network computes, and meet what was recorded? How long does it take?"""

from __future__ import annotations

import copy
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.export import isolated
from nas.export.errors import ArtefactError
from nas.export.formats import Format, Here, Job, Runner
from nas.export.kinds import Outputs
from nas.export.standalone import normalise
from nas.export.validation import Judge

#: Of an output's largest value: some eighty times float32's rounding.
TOLERANCE = 1e-5
#: Another runtime sums in another order. In a deep network that alone can pass the tolerance (1e-4 was seen in
#: ResNet-50), so it may differ by as many times the network's own distance from float64, up to a ceiling. The
#: sigmoid of ONNX Runtime is 2.5e-6 from the exact one, torch's 1.1e-7: gated networks were up to ten times as far.
ROUNDINGS = 16
CEILING = 1e-3
#: Batches of which the outputs are compared: one that was traced for a single image fails at another.
BATCHES = (1, 7)

#: The trained network itself, among those that answer.
NETWORK = "network"
#: Of everybody that was asked, by name.
Answers = Mapping[str, Outputs]


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

    @property
    def relative(self) -> float:
        """As a share of the largest value."""
        return self.difference / self.largest if self.largest else math.inf if self.difference else 0.0


@dataclass
class Comparison:
    """The network and its artefacts, asked side by side. One that fails is asked no more: `wrong` says why."""

    forms: Mapping[str, Format]
    runners: dict[str, Runner]
    wrong: dict[str, ArtefactError] = field(default_factory=dict)
    #: By artefact, question and output.
    gaps: dict[tuple[str, str, str], Gap] = field(default_factory=dict)
    rounding: float = 0.0

    def answers(self, question: str, inputs: Tensor, images: Tensor | None = None) -> Answers:
        """To float32 [N, C, H, W]; `images` are the same as uint8."""
        replies = {name: runner.ask(inputs, images) for name, runner in self.runners.items()}
        found = {NETWORK: replies.pop(NETWORK)()}
        for name, reply in replies.items():
            try:
                found[name] = reply()
            except ArtefactError as error:
                self._dismiss(name, error)
                continue
            for output, expected in found[NETWORK].items():
                key = (name, question, output)
                gap = self.gaps[key] = self.gaps.get(key, Gap()).widened(expected, found[name][output])
                if math.isnan(gap.difference):
                    self._dismiss(name, _too_wide(key, gap, TOLERANCE))
                    found.pop(name, None)
                    break
        return found

    def allowed(self, name: str) -> float | None:
        """How far the artefact's outputs may be, as a share of the largest; None for one of fewer bits."""
        nearness = self.forms[name].nearness
        wide = min(CEILING, max(TOLERANCE, ROUNDINGS * self.rounding))
        return {"same": TOLERANCE, "rounding": wide, "lossy": None}[nearness]

    def check(self) -> None:
        """Dismiss those that are farther away than they may be."""
        for key, gap in self.gaps.items():
            name, most = key[0], self.allowed(key[0])
            if name in self.runners and most is not None and not gap.difference <= most * gap.largest:
                self._dismiss(name, _too_wide(key, gap, most, self.rounding))

    def _dismiss(self, name: str, error: ArtefactError) -> None:
        self.wrong[name] = error
        self.runners.pop(name, None)

    def rows(self, artefact: str) -> list[dict[str, Any]]:
        return [
            {
                "batch": question,
                "output": output,
                "max_abs_difference": gap.difference,
                "largest": gap.largest,
                "relative": gap.relative if math.isfinite(gap.relative) else None,
                "equal": gap.equal,
            }
            for (name, question, output), gap in self.gaps.items()
            if name == artefact
        ]


def _too_wide(key: tuple[str, str, str], gap: Gap, allowed: float, rounding: float = 0.0) -> ArtefactError:
    artefact, question, output = key
    mend = "keep the run and report it"
    if rounding > CEILING:
        mend = f"float32 itself is {rounding:.2g} from float64 here, so nothing can agree: train it for longer"
    return ArtefactError(
        artefact,
        f"{artefact} differs from the trained network by {gap.difference:.3g} in {output} ({question}), "
        f"above {allowed:.1g} of the largest, {gap.largest:.3g}: {mend}",
    )


@dataclass(frozen=True)
class Proof:
    """What was found: the sections of parity.json, by artefact, and the artefacts that proved wrong."""

    artefacts: Mapping[str, Mapping[str, Any]]
    verdict: Mapping[str, Any]
    rounding: float
    wrong: Mapping[str, ArtefactError]


def prove(job: Job, forms: Sequence[Format], judge: Judge | None) -> Proof:
    """Compare the artefacts that were written with the network, on random and real images and the whole split.

    Raises:
        ExportError: what was recorded is not met by the network itself.
    """
    network = job.network.to(memory_format=torch.channels_last)
    place = job.place
    own = Here(NETWORK, lambda inputs: isolated.outputs_of(network, inputs, place.names))
    comparison = Comparison({one.name: one for one in forms}, {NETWORK: own})
    verdict: Mapping[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(isolated.one_thread())
        for form in forms:
            try:
                comparison.runners[form.name] = stack.enter_context(form.runner(place))
            except ArtefactError as error:
                comparison.wrong[form.name] = error
        exact = copy.deepcopy(network).double()
        for question, inputs in batches_to_ask(job, judge).items():
            answers = comparison.answers(question, inputs)
            comparison.rounding = max(comparison.rounding, own_rounding(exact, inputs, answers[NETWORK]))
        comparison.check()
        if judge is not None and (len(comparison.runners) > 1 or not forms):
            readings = _readings(job, judge, comparison)
            comparison.check()
            readings = {name: found for name, found in readings.items() if name in comparison.runners}
            lossy = {name for name in readings if name != NETWORK and comparison.allowed(name) is None}
            most = max((comparison.allowed(name) or 0.0 for name in readings if name != NETWORK), default=TOLERANCE)
            verdict, off = judge.verdict(readings, max(most, TOLERANCE), lossy)
            for name, why in off.items():
                comparison.wrong[name] = why
                comparison.runners.pop(name)
        times = {name: _times(runner, job) for name, runner in comparison.runners.items()}
    report = {
        name: {
            "allowed": comparison.allowed(name),
            "run_as": comparison.forms[name].run_as,
            "bytes": (job.folder / name).stat().st_size,
            "latency_ms": times[name],
            "batches": comparison.rows(name),
        }
        for name in comparison.runners
        if name != NETWORK
    }
    return Proof(report, {**verdict, "eager_latency_ms": times[NETWORK]}, comparison.rounding, comparison.wrong)


def _times(runner: Runner, job: Job) -> dict[str, Any]:
    """p50 and p95 of one image, again from the artefact."""
    found = sorted(runner.milliseconds(job.blank(1)))
    return {"p50": statistics.median(found), "p95": found[min(int(0.95 * len(found)), len(found) - 1)], "n": len(found)}


def batches_to_ask(job: Job, judge: Judge | None) -> dict[str, Tensor]:
    """float32 batches by name: random ones and, where there is a split, the first of its images."""
    generator = torch.Generator().manual_seed(0)
    shape = tuple(job.trained.space.input_shape)
    batches = {f"random, batch {size}": torch.randn(size, *shape, generator=generator) for size in BATCHES}
    for size in BATCHES if judge is not None else ():
        assert judge is not None
        real = judge.images[: min(size, len(judge.images))]
        batches[f"real, batch {len(real)}"] = normalise(real, job.trained.mean, job.trained.std)
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


def _readings(job: Job, judge: Judge, comparison: Comparison) -> dict[str, Sequence[Any]]:
    """What everybody's outputs for the images of the split mean, batch by batch: all of them would fill the memory."""
    readings: dict[str, list[Any]] = {}
    images = judge.images
    for places in torch.split(torch.arange(len(images)), judge.batch_size):
        batch = images[places]
        inputs = normalise(batch, job.trained.mean, job.trained.std)
        for name, outputs in comparison.answers(f"all {len(images)} images", inputs, batch).items():
            readings.setdefault(name, []).append(judge.read(outputs, places))
    return dict(readings)


def report_of(job: Job, proof: Proof, judge: Judge | None, left_out: Mapping[str, str]) -> dict[str, Any]:
    """parity.json."""
    promised = job.trained.provenance.get("latency_ms")
    return {
        "passed": bool(proof.artefacts),
        "tolerance": {
            "relative": {name: found["allowed"] for name, found in proof.artefacts.items()},
            "to": "the largest absolute value of the trained network's output on the batch",
            "own_rounding": proof.rounding,
            "another runtime": f"{ROUNDINGS} times own_rounding (the network in float32 against itself in float64), "
            f"at least {TOLERANCE:g}, at most {CEILING:g}; fewer bits: null, the split says what they cost",
        },
        "artefacts": dict(proof.artefacts),
        "left_out": dict(left_out),
        "accuracy": None,
        "figures": None,
        **proof.verdict,
        "promised_latency_ms": promised,
        "latency_protocol": "p50 and p95 of warm passes of one image on one CPU thread of the machine that exported",
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


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """parity.json."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
