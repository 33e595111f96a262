"""Trainings for FusionBench's pilot, one line of JSON each as soon as it has ended; the same command goes on.

    python -m benchmarks.pilot --data folder:DIR            train what is missing, then show
    python -m benchmarks.pilot                              show what the record tells

Which look tells operators apart: every architecture is trained from scratch for the long schedule (what the looks are
held against), and inherited from one all-add parent for short ones at several rates of the fusions, all of them under
the same seeds. Each line has what a study of noise needs: loss, accuracy, the loss at the network's own temperature,
which validation images are right (so that pairs can be compared image by image), and how far each operator has moved.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from nas.settings.loading import load_config
from nas.trainings.prepared import prepare
from nas.trainings.sameness import versions
from search_spaces import Architecture, SearchSpace
from search_spaces.space import fusion_modules
from trials.data import ImageData, normalise
from trials.machine.quiet import occupied
from trials.ranks import kendall_tau, spearman
from trials.seeds import derive
from trials.training.starts import FromParent, FromScratch, Start
from trials.training.trainer import Trainer

Values = NDArray[np.float64]
RECORD = Path("benchmarks/results/pilot-resnet8-cifar10.jsonl")
#: Mixtures beside the uniform operators: two that were looked at before, and random ones.
MIXTURES = (("add", "cbam/4", "cbam/16"), ("concat", "se/8", "aff/16"), ("cbam/4", "iaff/8", "iaff/16"))
RANDOM = 3
PARENT_EPOCHS, LONG, SHORT = 12, 9, 3
#: The parent's alone: what is compared begins at 1.
PARENT_SEED = 0
#: Multiples of the trunk's rate at which fusions are fine-tuned.
FUSION_RATES = (1.0, 10.0)


@dataclass(frozen=True)
class Wanted:
    """One training. `peak_lr` is the trunk's, `fusion_lr_scale` the fusions' in multiples of it."""

    architecture: Architecture
    start: str
    epochs: int
    seed: int
    peak_lr: float
    fusion_lr_scale: float

    @property
    def identity(self) -> str:
        return f"{self.architecture.key} {self.start} {self.epochs} {self.seed} {self.peak_lr} {self.fusion_lr_scale}"


def plan(space: SearchSpace, seeds: int, peak_lr: float) -> Iterator[Wanted]:
    """All that is wanted, a whole seed of everything first."""
    drawn = architectures(space)
    for seed in range(1, seeds + 1):
        for rate in FUSION_RATES:
            for architecture in drawn:
                yield Wanted(architecture, "inherit", SHORT, seed, peak_lr / 4, rate)
        for architecture in drawn:
            yield Wanted(architecture, "scratch", LONG, seed, peak_lr, 1.0)


def architectures(space: SearchSpace) -> list[Architecture]:
    """All-add, each operator everywhere, and mixtures."""
    found = [space.baseline, *(space.uniform(op) for op in space.operators if op != "add" and space.offers(op))]
    names = [point.name for point in space.points]
    found += [space.architecture(dict(zip(names, labels, strict=True))) for labels in MIXTURES]
    return found + [space.sample(random.Random(derive(0, "pilot", number))) for number in range(RANDOM)]


def train(wanted: Wanted, start: Start, trainer: Trainer, space: SearchSpace) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network, and its line of the record."""
    recipe = replace(
        trainer.recipe, epochs=wanted.epochs, peak_lr=wanted.peak_lr, fusion_lr_scale=wanted.fusion_lr_scale
    )
    trainer = replace(trainer, recipe=recipe)
    torch.manual_seed(derive(wanted.seed, "initialisation"))
    network = start.network(space, wanted.architecture, wanted.seed).to(memory_format=torch.channels_last)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    began = time.perf_counter()
    with occupied() as machine:
        losses = [point.train_loss for point in trainer.train(network, wanted.seed, machine)]
        seconds = time.perf_counter() - began
        trainer.recalibrate(network, wanted.seed, machine)
    assert isinstance(trainer.data, ImageData)
    logits = predictions(network, trainer.data)
    return network, {
        **vars(wanted), "architecture": wanted.architecture.key, "choices": wanted.architecture.labels(),
        "identity": wanted.identity, **judged(logits, trainer.data.val.labels), "train_losses": losses,
        "train_seconds": round(seconds, 1), "images": len(trainer.data.train) * wanted.epochs,
        "moved": moved(network, before),
    }  # fmt: skip


@torch.no_grad()
def predictions(network: nn.Module, data: ImageData) -> Tensor:
    """The logits of the validation images, [N, classes], in float32."""
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    network.eval()
    parts = (normalise(images, mean, std) for images in torch.split(data.val.images, 64))
    return torch.cat([network(part.contiguous(memory_format=torch.channels_last)) for part in parts])


def judged(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss and accuracy, the loss at the temperature that is best on the same images, and which images are right."""
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        found = F.cross_entropy(logits / log_temperature.exp(), labels)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    right = (logits.argmax(1) == labels).numpy()
    return {
        "loss": float(F.cross_entropy(logits, labels)), "accuracy": float(right.mean()),
        "temperature": float(log_temperature.exp()), "tempered_loss": float(loss()),
        "right": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }  # fmt: skip


def moved(network: nn.Module, before: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Of each point's fusion: the norm of its new weights, and of their change, over all of its parameters."""
    found = {}
    for name, fusion in fusion_modules(network).items():
        new = [(parameter, before[f"{name}.fuse.{part}"]) for part, parameter in fusion.named_parameters()]
        if new:
            change = sum(float((parameter - old).square().sum()) for parameter, old in new) ** 0.5
            found[name] = [sum(float(old.square().sum()) for _, old in new) ** 0.5, change]
    return found


def main() -> None:
    """Train what is missing where data are given, and show what the record tells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="NAME", help="folder:DIR of CIFAR-10's images")
    parser.add_argument("--train-images", type=int, default=10_000, metavar="N")
    parser.add_argument("--seeds", type=int, default=6, metavar="K")
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE.jsonl")
    given = parser.parse_args()
    if given.data is not None:
        train_missing(given.record, given.data, given.train_images, given.seeds)
    show(given.record)


def train_missing(record: Path, data: str, train_images: int, seeds: int) -> None:
    """What `plan` wants and the record lacks, one thread, each training appended as soon as it has ended."""
    torch.set_num_threads(1)
    images = {"data": data, "image_size": 32, "train_images": train_images}
    config = load_config(None, {"space": "resnet8", **images})
    prepared = prepare(config, print)
    trainer, space = prepared.trainer, prepared.space
    assert isinstance(trainer.data, ImageData)
    peak_lr = config.training.peak_lr
    record.parent.mkdir(parents=True, exist_ok=True)
    if not record.exists():
        header = {
            "space": space.fingerprint, "data": trainer.data.fingerprint, "train": len(trainer.data.train),
            "val": len(trainer.data.val), "recipe": asdict(trainer.recipe), "parent_epochs": PARENT_EPOCHS,
            **versions(),
        }  # fmt: skip
        header.pop("host", None)
        record.write_text(json.dumps(header) + "\n")
    known = {json.loads(line).get("identity") for line in record.read_text().splitlines()[1:]}
    parent = record.with_suffix(".parent.safetensors")
    if not parent.exists():
        first = Wanted(space.baseline, "scratch", PARENT_EPOCHS, PARENT_SEED, peak_lr, 1.0)
        network, line = train(first, FromScratch(), trainer, space)
        parent.write_bytes(save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}))
        _append(record, line)
    starts: dict[str, Start] = {"scratch": FromScratch(), "inherit": FromParent(parent.read_bytes())}
    for wanted in plan(space, seeds, peak_lr):
        if wanted.identity not in known:
            _, line = train(wanted, starts[wanted.start], trainer, space)
            _append(record, line)
            print(f"{wanted.identity}: {line['accuracy']:.4f} {line['tempered_loss']:.4f} {line['train_seconds']} s")


def _append(record: Path, line: Mapping[str, Any]) -> None:
    with record.open("a") as file:
        file.write(json.dumps(line) + "\n")


#: By start, epochs and rate of the fusions: each training by architecture and seed.
Table = dict[tuple[str, int, float], dict[str, dict[int, dict[str, Any]]]]
METRICS = {"accuracy": 100.0, "loss": -1.0, "tempered_loss": -1.0}


def show(record: Path) -> None:
    """What each look tells of architectures, and how it ranks them beside the long schedule."""
    table: Table = defaultdict(lambda: defaultdict(dict))
    for line in map(json.loads, record.read_text().splitlines()[1:]):  # after the header
        if line["seed"] == PARENT_SEED:
            continue
        table[line["start"], line["epochs"], line["fusion_lr_scale"]][line["architecture"]][line["seed"]] = line
    truth = next(key for key in table if key[0] == "scratch")
    names = list(table[truth])
    seeds = sorted(table[truth][names[0]])
    print(
        f"{len(names)} architectures, {len(seeds)} seeds, paired by seed; the truth: accuracy after {truth[1]} epochs "
        "from scratch, mean of seeds"
    )
    print(f"  {'look':<26}{'':<15}{'ICC':>6}{'SD':>9}{'residual':>10}{'τ seeds':>9}{'ρ truth':>9}{'τ truth':>9}")
    long = values(table[truth], names, seeds, "accuracy").mean(1)
    for key, there in table.items():
        seconds = np.mean([line["train_seconds"] for row in there.values() for line in row.values()])
        look = f"{key[0]} {key[1]} ×{key[2]:g}, {seconds:.0f} s"
        for metric in METRICS:
            found = values(there, names, seeds, metric)
            icc, spread, residual = components(found)
            pairs = [kendall_tau(found[:, [i]].T, found[:, [j]].T)[0] for i in range(len(seeds)) for j in range(i)]
            rho = np.mean([spearman(found[:, [i]].T, long[None])[0] for i in range(len(seeds))])
            tau = np.mean([kendall_tau(found[:, [i]].T, long[None])[0] for i in range(len(seeds))])
            beside = "" if key == truth else f"{rho:>9.2f}{tau:>9.2f}"
            print(f"  {look:<26}{metric:<15}{icc:>6.2f}{spread:>9.4f}{residual:>10.4f}{np.mean(pairs):>9.2f}{beside}")
            look = ""
    print("\n  accuracy of the long schedule, mean ± standard error over seeds")
    scores = values(table[truth], names, seeds, "accuracy")
    for place in np.argsort(-long):
        choices = next(iter(table[truth][names[place]].values()))["choices"].values()
        error = scores[place].std(ddof=1) / len(seeds) ** 0.5
        print(f"    {', '.join(choices):<32}{long[place]:6.2f} ± {error:.2f}")
    print("\n  how far fusions move: change of their weights, relative to where they began")
    for key, there in table.items():
        moves: dict[str, list[float]] = defaultdict(list)
        for line in (line for row in there.values() for line in row.values()):
            for point, (began, change) in line["moved"].items():
                moves[line["choices"][point].split("/")[0]].append(change / max(began, 1e-9))
        told = ", ".join(f"{op} {np.mean(ratios):.2f}" for op, ratios in sorted(moves.items()))
        print(f"    {key[0]} {key[1]} ×{key[2]:g}: {told}")


def values(there: dict[str, dict[int, dict[str, Any]]], names: list[str], seeds: list[int], metric: str) -> Values:
    """[architectures, seeds], larger is better; accuracy in points."""
    return np.array([[METRICS[metric] * there[name][seed][metric] for seed in seeds] for name in names])


def components(found: Values) -> tuple[float, float, float]:
    """Of [architectures, seeds], the seeds' common shifts taken out: intra-class correlation (ICC(3,1) of Shrout and
    Fleiss 1979), the standard deviation of architectures, and that of what is left."""
    rows, columns = found.shape
    centred = found - found.mean(0)
    effects = centred.mean(1, keepdims=True)
    noise = float(((centred - effects) ** 2).sum() / ((rows - 1) * (columns - 1)))
    between = max(0.0, float(effects.var(ddof=1)) - noise / columns)
    return between / (between + noise), between**0.5, noise**0.5


if __name__ == "__main__":
    main()
