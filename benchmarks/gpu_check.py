"""What has to be seen on a GPU, in one go of at most eight minutes: `make gpu-check`.

Needs torch, numpy, Pillow, jaxtyping and safetensors, and for the ordinary set-up torchvision; no Ray, no Optuna and no
network. The search is therefore one of random architectures through the trials package: costs, a latency of each,
training, evaluation and the export of the best. Each part is tried for itself, and the file is written after each; what
cannot be done here is in it with the reason.

    python -m benchmarks.gpu_check --device cpu --quick    # the script itself, tried without a GPU in under a minute
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch.nn import functional as F

from search_spaces import Architecture, InputSpec, SearchSpace
from trials.cores import cores
from trials.costs import CostTable
from trials.data import DataConfig, ImageData
from trials.judge import Bench, TrialOutcome, TrialPlan
from trials.machine import device as devices
from trials.machine.failures import TimeLimit
from trials.tasks import evaluation as tasks_evaluation
from trials.tasks.classification import ClassificationTask
from trials.training import cuda_graph
from trials.training.loop import train
from trials.trial import EpochPoint, LatencyProtocol, Recipe, TrialJob

#: Seconds that all takes at the most, and those that a part needs to be begun; the marked tests get what they may.
BUDGET_S, LEAST_S, TESTS_S = 450.0, 20.0, 150.0
ROOT = Path(__file__).resolve().parents[1]


class Skipped(RuntimeError):
    """A part that cannot be done here, with the reason."""


@dataclass(frozen=True)
class Check:
    """What is checked: the plan of the trials, and how many of them; `until` (monotonic) all is to be over."""

    plan: TrialPlan
    trials: int
    seeds: int
    quick: bool
    until: float

    @property
    def device(self) -> torch.device:
        return devices.resolve(self.plan.device)

    def architectures(self) -> list[Architecture]:
        """All-add first."""
        space, rng = self.plan.space, random.Random(0)
        return [space.baseline, *(space.sample(rng) for _ in range(self.trials - 1))]

    def job(self, number: int, architecture: Architecture) -> TrialJob:
        costs = CostTable(self.plan.space)(architecture)
        return TrialJob(number, "sampler", architecture, 0, self.plan.recipe.epochs, costs.macs, costs.params)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks, few images")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")) / "gpu-check.json")
    given = parser.parse_args()
    os.environ.setdefault("FUSION_NAS_LOCKS", tempfile.mkdtemp(prefix="gpu-check-"))
    found = run(check_of(given.device, given.quick), given.out)
    wrong = [name for name, part in found.items() if "error" in part]
    sys.exit(f"gpu-check: {', '.join(wrong)} failed, see {given.out}" if wrong else 0)


def check_of(device: str, quick: bool) -> Check:
    """Raises DeviceError where the device is not there."""
    on_gpu = devices.resolve(device).type == "cuda"
    space = SearchSpace.named("resnet8" if quick else "resnet20", InputSpec(1, 28, 10))
    recipe = Recipe(epochs=1 if quick else 5, batch_size=32 if quick else 128, precision="auto")
    data = DataConfig(train_images=256 if quick else None, val_fraction=0.05 if quick else 0.1)
    protocol = LatencyProtocol(passes=30) if quick else LatencyProtocol()
    plan = TrialPlan(space, data, recipe, protocol, "cuda" if on_gpu and device == "auto" else device)
    return Check(plan, 2 if quick else 8, 2 if quick else 5, quick, time.monotonic() + BUDGET_S)


def run(check: Check, out: Path) -> dict[str, Any]:
    """Every part in turn, each one's figures or why there are none; `out` is written after each."""
    found: dict[str, Any] = {}
    for name, part in PARTS.items():
        began = time.monotonic()
        if check.until - began < LEAST_S:
            found[name] = {"skipped": "no time was left"}
        else:
            try:
                with TimeLimit(check.until - began).watching():
                    found[name] = part(check)
            except Skipped as reason:
                found[name] = {"skipped": str(reason)}
            except Exception as error:  # the other parts are to be seen all the same
                found[name] = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        found[name]["part_seconds"] = round(time.monotonic() - began, 2)
        out.write_text(json.dumps(found, indent=1))
        print(f"{name}: {json.dumps(found[name])}", flush=True)
    return found


def machine(check: Check) -> dict[str, Any]:
    there = [name for name in ("torchvision", "pytest", "beartype", "optuna", "ray") if find_spec(name) is not None]
    return devices.environment(check.device) | {"python": platform.python_version(), "installed": there}


def search(check: Check) -> dict[str, Any]:
    """Random architectures beside all-add through the one entry that engines know, each measured, trained and judged;
    the best is exported by `torch.export` and held against the network."""
    bench = Bench(check.plan)
    bench.warm_up()
    began = time.perf_counter()
    outcomes = [judged(bench, check.job(*one)) for one in enumerate(check.architectures())]
    seconds = time.perf_counter() - began
    failed = [outcome.result.error for outcome in outcomes if outcome.weights is None]
    if failed:
        raise RuntimeError(f"{len(failed)} trials failed: {failed[0]}")
    best = max(outcomes, key=lambda outcome: outcome.result.score or 0.0)
    network = bench.build(best.result.architecture, seed=0).eval()
    network.load_state_dict(load(best.weights or b""))
    images = bench.trainer.data.val.images[:2].to(check.device).float()
    with torch.inference_mode(), devices.exact_float32():
        expected = network(images)
    program = torch.export.export(network, (images,)).module()
    with torch.no_grad(), devices.exact_float32():
        apart = float((program(images) - expected).abs().max())
    if not apart < 1e-3:
        raise RuntimeError(f"the exported program is {apart:g} away from the network")
    return {
        "trials_an_hour": round(3600 * len(outcomes) / seconds, 1),
        "scores": [outcome.result.score for outcome in outcomes],
        "latency_ms": [round(o.result.latency.p50_ms, 4) for o in outcomes if o.result.latency is not None],
        "latency_steady": [o.result.latency.stable for o in outcomes if o.result.latency is not None],
        "images_per_second": [round(outcome.result.images_per_second or 0.0) for outcome in outcomes],
        "best": best.result.architecture.key,
        "export_apart": apart,
    }


def graph(check: Check) -> dict[str, Any]:
    """The same training with and without a CUDA graph of its step, on any torch: one that is captured needs no more."""
    needs_cuda(check)
    recipe = check.plan.recipe
    steps = recipe.epochs * max(1, len(Bench(check.plan).trainer.data.train) // recipe.batch_size)
    if steps < cuda_graph.LEAST_STEPS:
        raise Skipped(f"{steps} steps do not repay a graph")
    cuda_graph.LEAST_TORCH = "2.11"
    found: dict[str, Any] = {}
    for name, wanted in (("off", False), ("on", True)):
        bench = Bench(replace(check.plan, recipe=replace(recipe, cuda_graph=wanted)))
        points = trained(bench, check.plan.space.uniform("se"))
        found[name] = {
            "images_per_second": round(points[-1].images_per_second),
            "loss": points[-1].train_loss,
            "graph": points[0].cuda_graph,
        }
    return found


def share(check: Check) -> dict[str, Any]:
    """How much of a training's time the GPU computes: its kernels' durations, of the time on the clock."""
    needs_cuda(check)
    from torch.profiler import ProfilerActivity, profile

    bench = Bench(replace(check.plan, recipe=replace(check.plan.recipe, epochs=2)))
    trained(bench, check.plan.space.uniform("se"))
    found = {}
    for name in ("add", "se", "iaff"):
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            began = time.perf_counter()
            trained(bench, check.plan.space.uniform(name))
            torch.cuda.synchronize(check.device)
            seconds = time.perf_counter() - began
        kernels = sum(event.self_device_time_total for event in profiler.key_averages())
        found[name] = round(kernels / 1e6 / seconds, 4)
    return {"share_of_time_computing": found}


def ordinary(check: Check) -> dict[str, Any]:
    """The same architectures, optimiser, schedule and epochs as PyTorch's tutorials would have it: torchvision's
    transforms, a `DataLoader`, float32; without a latency, as ours are without here."""
    if find_spec("torchvision") is None:
        raise Skipped("torchvision is not installed")
    bench = Bench(replace(check.plan, screening=False))
    bench.warm_up()
    data = bench.trainer.data
    assert isinstance(data, ImageData)
    some = check.architectures()[: 2 if check.quick else 3]
    seconds: dict[str, list[float]] = {"ours": [], "ordinary": []}
    scores: dict[str, list[float]] = {"ours": [], "ordinary": []}
    for number, architecture in enumerate(some):
        began = time.perf_counter()
        scores["ours"].append(judged(bench, check.job(number, architecture)).result.score or 0.0)
        seconds["ours"].append(time.perf_counter() - began)
        began = time.perf_counter()
        scores["ordinary"].append(_ordinary(check, data, architecture))
        seconds["ordinary"].append(time.perf_counter() - began)
    hourly = {name: round(3600 * len(some) / sum(each), 1) for name, each in seconds.items()}
    return {"trials_an_hour": hourly, "scores": scores}


def _ordinary(check: Check, data: ImageData, architecture: Architecture) -> float:
    from torch.utils.data import DataLoader
    from torchvision import transforms

    recipe, device = check.plan.recipe, check.device
    plain = [transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
    crop = transforms.RandomCrop(28, padding=4, padding_mode="reflect")
    changed = transforms.Compose([transforms.ToPILImage(), crop, transforms.RandomHorizontalFlip(), *plain])
    unchanged = transforms.Compose([transforms.ToPILImage(), *plain])
    loaders = [
        DataLoader(
            _Pictures(split.images.cpu(), split.labels.cpu(), how),
            recipe.batch_size, shuffle=training, drop_last=training, num_workers=min(4, cores()),
            pin_memory=device.type == "cuda", persistent_workers=True,
        )
        for split, how, training in ((data.train, changed, True), (data.val, unchanged, False))
    ]  # fmt: skip
    torch.manual_seed(0)
    network = check.plan.space.build(architecture).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = recipe.epochs * len(loaders[0])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_lr, total_steps=steps, pct_start=recipe.warmup_fraction, cycle_momentum=False
    )
    for _ in range(recipe.epochs):
        network.train()
        for images, labels in loaders[0]:
            optimiser.zero_grad()
            logits = network(images.to(device, non_blocking=True))
            loss = F.cross_entropy(logits, labels.to(device, non_blocking=True), label_smoothing=recipe.label_smoothing)  # type: ignore[union-attr]
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    network.eval()
    right = 0
    with torch.inference_mode():
        for images, labels in loaders[1]:
            right += int((network(images.to(device)).argmax(1).cpu() == labels).sum())
    return right / len(data.val)


class _Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, images: torch.Tensor, labels: torch.Tensor, transform: Callable[[Any], Any]) -> None:
        self._images, self._labels, self._transform = images, labels, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._images[index]), int(self._labels[index])


def evaluation(check: Check) -> dict[str, Any]:
    """Images a second of an evaluation in a CPU's batches, and in those of the device; both judge alike."""
    bench = Bench(check.plan)
    network, data = bench.build(check.plan.space.uniform("se"), seed=0), bench.trainer.data
    own = tasks_evaluation.judged_together(ClassificationTask(), data.val, check.device)
    found: dict[str, Any] = {"batch": own}
    with bench.occupied() as hold:
        for batch in dict.fromkeys((ClassificationTask.eval_batch, own)):
            least = float("inf")
            for _ in range(3):
                began = time.perf_counter()
                with _in_batches(batch):
                    judgement = tasks_evaluation.evaluate(network, data.val, data, hold)
                least = min(least, time.perf_counter() - began)
            found[str(batch)] = {"images_per_second": round(len(data.val) / least), "correct": judgement.correct}
    return found


@contextmanager
def _in_batches(of: int) -> Iterator[None]:
    """Judge so many images at once, whatever the device."""
    before = tasks_evaluation.judged_together
    tasks_evaluation.judged_together = lambda task, split, device: of
    try:
        yield
    finally:
        tasks_evaluation.judged_together = before


def packed(check: Check) -> dict[str, Any]:
    """Seeds of one architecture trained one after the other, and as one batched program."""
    from trials.training.packed import train_packed

    bench = Bench(replace(check.plan, recipe=replace(check.plan.recipe, precision="float32")))
    architecture, seeds = check.plan.space.uniform("se"), list(range(check.seeds))
    data, recipe = bench.trainer.data, bench.trainer.recipe
    assert isinstance(data, ImageData)
    assert isinstance(recipe, Recipe)
    found: dict[str, Any] = {"seeds": len(seeds)}
    losses: dict[str, list[float]] = {}
    with bench.occupied() as hold:
        for name in ("warm-up", "alone", "packed"):
            networks = [bench.build(architecture, seed) for seed in seeds]
            began = time.perf_counter()
            if name == "packed":
                *_, last = train_packed(networks, data, recipe, seeds, hold)
                losses[name] = [point.train_loss for point in last]
            else:
                of = networks[:1] if name == "warm-up" else networks
                losses[name] = [list(train(n, data, recipe, s, hold))[-1].train_loss for n, s in zip(of, seeds)]  # noqa: B905
            devices.synchronise(check.device)()
            found[name] = round(time.perf_counter() - began, 3)
    apart = max(abs(a - b) / abs(a) for a, b in zip(losses["alone"], losses["packed"], strict=True))
    return found | {"times_as_fast": round(found["alone"] / found["packed"], 3), "losses_apart": apart}


def marked_tests(check: Check) -> dict[str, Any]:
    """The tests that are marked `gpu`. Without beartype shapes are not checked meanwhile."""
    needs_cuda(check)
    if find_spec("pytest") is None:
        raise Skipped("pytest is not installed")
    plain = [] if find_spec("beartype") else PLAIN
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *plain, *marked()],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        timeout=min(TESTS_S, max(check.until - time.monotonic(), 1.0)),
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        raise RuntimeError(" | ".join(lines[-12:]))
    return {"said": lines[-1]}


#: Without our fixtures, which check shapes.
PLAIN = ["--noconftest", "-p", "no:cacheprovider"]


def marked() -> list[str]:
    """The files that hold such a test."""
    mark = "@pytest.mark." + "gpu"
    return [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if mark in file.read_text()]


def environment(*paths: str) -> dict[str, str]:
    """That of a process that finds what these files import."""
    found = (*paths, *(str(ROOT / path) for path in (".", "tests", "tests/trials")))
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(found)}


def needs_cuda(check: Check) -> None:
    if check.device.type != "cuda":
        raise Skipped("needs a CUDA device")


def judged(bench: Bench, job: TrialJob) -> TrialOutcome:
    *_, outcome = bench.judge(job)
    assert isinstance(outcome, TrialOutcome)
    return outcome


def trained(bench: Bench, architecture: Architecture) -> list[EpochPoint]:
    with bench.occupied() as hold:
        return list(bench.trainer.train(bench.build(architecture, seed=0), 0, hold))


PARTS: dict[str, Callable[[Check], dict[str, Any]]] = {
    "machine": machine, "search": search, "graph": graph, "share": share, "packed": packed, "ordinary": ordinary,
    "evaluation": evaluation, "marked tests": marked_tests,
}  # fmt: skip


if __name__ == "__main__":
    main()
