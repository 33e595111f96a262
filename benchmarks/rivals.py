"""An ordinary Ray Tune set-up, as its documentation would have it, and the same one tuned: our trials' rivals.

Both train the same networks with the same optimiser, schedule, epochs, images, augmentation and seeds as ours, and let
`OptunaSearch` propose. The ordinary one trains in float32, from torchvision's transforms and a `DataLoader`, each trial
in an actor of its own, with a checkpoint every epoch. The tuned one has what the performance guides of Ray and PyTorch
ask for: actors used again, data in memory ready for the network, no loggers, no checkpoints, one thread, channels last
and, where the processor has it, bfloat16.

Run as `python -m benchmarks.rivals KIND JOB.json OUT.json`, in a process of its own: Ray reads its environment once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from search_spaces import Architecture, InputSpec, SearchSpace
from trials.machine.device import has_bf16

#: The tuned set-up writes no logs and no state of the experiment.
TUNED_ENVIRONMENT = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "TUNE_GLOBAL_CHECKPOINT_S": "3600"}

Batches = Iterator[tuple[Tensor, Tensor]]


class Loop(Protocol):
    """What differs between the training loops: the data, and how a network computes."""

    def prepared(self, network: nn.Module) -> nn.Module: ...
    def precision(self) -> AbstractContextManager[Any]: ...
    def epoch(self, seed: int) -> Batches: ...
    def held_out(self) -> Batches: ...


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision's `FashionMNIST`: all in memory, each item a PIL image through the transforms."""

    def __init__(self, path: str, split: str, transform: Any) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.images, self.labels = archive[f"{split}_images"][:, 0], archive[f"{split}_labels"]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class OrdinaryLoop:
    """Loaders without workers of their own: on two cores with two trials they only cost."""

    def __init__(self, job: dict[str, Any]) -> None:
        plain = [transforms.ToTensor(), transforms.Normalize(job["mean"], job["std"])]
        crop = transforms.RandomCrop(28, padding=job["recipe"]["crop_padding"], padding_mode="reflect")
        changed = transforms.Compose([crop, transforms.RandomHorizontalFlip(), *plain])
        self._train = Pictures(job["images"], "train", changed)
        self._val = Pictures(job["images"], "val", transforms.Compose(plain))
        self._batch_size = job["recipe"]["batch_size"]

    def prepared(self, network: nn.Module) -> nn.Module:
        return network

    def precision(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def epoch(self, seed: int) -> Batches:
        torch.manual_seed(seed)
        order = RandomSampler(self._train, generator=torch.Generator().manual_seed(seed))
        return iter(DataLoader(self._train, self._batch_size, sampler=order, drop_last=True))

    def held_out(self) -> Batches:
        return iter(DataLoader(self._val, batch_size=256))


class TunedLoop:
    """Images normalised and padded once; crops and flips are of whole batches."""

    def __init__(self, job: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self._pad, self._batch_size = job["recipe"]["crop_padding"], job["recipe"]["batch_size"]
        self._cpu = torch.device("cpu")
        with np.load(job["images"], allow_pickle=False) as archive:
            arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
        train, self._val = (
            transforms.functional.normalize(arrays[f"{split}_images"] / 255, job["mean"], job["std"])
            for split in ("train", "val")
        )
        self._train = F.pad(train, (self._pad,) * 4, mode="reflect")[:, 0]
        self._labels, self._val_labels = arrays["train_labels"], arrays["val_labels"]

    def prepared(self, network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last)

    def precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(self._cpu))

    def epoch(self, seed: int) -> Batches:
        draws, side = torch.Generator().manual_seed(seed), torch.arange(28)
        order = torch.randperm(len(self._train), generator=draws)
        for places in order[: len(order) // self._batch_size * self._batch_size].split(self._batch_size):  # type: ignore[no-untyped-call]
            shift = torch.randint(2 * self._pad + 1, (2, len(places), 1), generator=draws)
            rows, columns = shift + side
            flipped = torch.rand((len(places), 1), generator=draws) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
            images = self._train[places[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield images[:, None], self._labels[places]

    def held_out(self) -> Batches:
        for first in range(0, len(self._val), 256):
            yield self._val[first : first + 256], self._val_labels[first : first + 256]


def train(choices: dict[str, str], job: dict[str, Any], loop: Loop) -> Iterator[dict[str, Any]]:
    """One trial; yields what is reported after every epoch, with the clock of its parts."""
    recipe, seeds = job["recipe"], job["seeds"]
    space = SearchSpace.named(job["space"], InputSpec(1, 28, 10))
    torch.manual_seed(seeds["initialisation"])
    network = loop.prepared(space.build(Architecture.from_json({"space": space.name, "choices": choices})))
    optimiser = torch.optim.SGD(
        network.parameters(), lr=recipe["peak_lr"], momentum=recipe["momentum"], weight_decay=recipe["weight_decay"],
        nesterov=True,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe["peak_lr"], total_steps=job["steps"], pct_start=recipe["warmup_fraction"],
        cycle_momentum=False,
    )  # fmt: skip
    began, images = time.time(), 0
    for epoch, seed in enumerate(seeds["order"]):
        network.train()
        for inputs, labels in loop.epoch(seed):
            optimiser.zero_grad()
            with loop.precision():
                logits = network(inputs)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe["label_smoothing"])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            images += len(inputs)
        trained = time.time()
        if epoch + 1 < recipe["epochs"]:
            # Ray's examples judge the network after every epoch, which would only slow these down.
            yield {"accuracy": 0.0}
    accuracy = evaluate(network, loop.held_out())
    yield {
        "accuracy": accuracy, "began": began, "trained": trained, "evaluated": time.time(),
        "images_per_second": images / (trained - began),
    }  # fmt: skip


@torch.inference_mode()
def evaluate(network: nn.Module, batches: Batches) -> float:
    network.eval()
    hits = torch.cat([network(inputs).argmax(1) == labels for inputs, labels in batches])
    return float(hits.double().mean())


def run(kind: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Every trial of `job["architectures"]`, two at a time, with the clock of its ends."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Timed(OptunaSearch):
        """Notes when a trial was asked for and when its result had been taken."""

        asked: dict[str, float]
        ended: dict[str, float]

        def suggest(self, trial_id: str) -> Any:
            began = time.time()
            found = super().suggest(trial_id)
            self.asked.setdefault(trial_id, began)
            return found

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            super().on_trial_complete(trial_id, result, error)
            self.ended[trial_id] = time.time()

    space = SearchSpace.named(job["space"], InputSpec(1, 28, 10))
    offered = {point.name: tune.choice([str(choice) for choice in point.choices]) for point in space.points}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    searcher = Timed(metric="accuracy", mode="max", points_to_evaluate=job["architectures"])
    searcher.asked, searcher.ended = {}, {}

    def trainable(config: dict[str, Any]) -> None:
        """A function trainable: data are loaded, and a checkpoint is reported, in every trial."""
        for row in train(config, job, OrdinaryLoop(job)):
            with tempfile.TemporaryDirectory() as folder:
                torch.save(row, Path(folder) / "checkpoint.pt")
                tune.report(row, checkpoint=tune.Checkpoint.from_directory(folder))

    class Warm(tune.Trainable):
        """A class trainable whose actor is used again, with the data it has."""

        def setup(self, config: dict[str, Any]) -> None:
            self.loop = TunedLoop(job)
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.rows = train(new_config, job, self.loop)
            return True

        def step(self) -> dict[str, Any]:
            row = next(self.rows)
            return {**row, "done": "trained" in row}

    chosen: Any = {"ordinary": trainable, "tuned": Warm}[kind]
    with tempfile.TemporaryDirectory() as scratch:
        results = tune.Tuner(
            tune.with_resources(chosen, {"cpu": 1}),
            param_space=offered,
            tune_config=tune.TuneConfig(
                search_alg=searcher, num_samples=len(job["architectures"]), max_concurrent_trials=job["workers"],
                reuse_actors=kind == "tuned",
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0,
                # Of a class trainable Tune takes one at the end unless it is told not to; one that has none to give
                # fails there, and its actor with it: after its last result, so that nothing else shows it.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} of the {kind} rival's trials failed: {results.errors[0]}")
        rows = [{**(r.metrics or {}), "choices": r.config} for r in map(results.__getitem__, range(len(results)))]
    check(kind, job, rows)
    for row in rows:
        row["asked"], row["ended"] = searcher.asked[row["trial_id"]], searcher.ended[row["trial_id"]]
    wanted = ("choices", "accuracy", "began", "trained", "evaluated", "images_per_second", "asked", "ended")
    return [{name: row[name] for name in wanted} for row in rows]


def check(kind: str, job: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Raises RuntimeError unless these are the trials that were asked for, run as this kind runs them."""
    wanted, found = job["architectures"], [row["choices"] for row in rows]
    if sorted(json.dumps(c, sort_keys=True) for c in found) != sorted(json.dumps(c, sort_keys=True) for c in wanted):
        raise RuntimeError(f"the {kind} rival trained other architectures than those it was given")
    actors = len({row["pid"] for row in rows})
    if kind == "tuned" and actors > job["workers"]:
        raise RuntimeError(f"the tuned rival's {len(rows)} trials took {actors} actors instead of {job['workers']}")


def main() -> None:
    kind, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    if kind == "tuned":
        os.environ.update(TUNED_ENVIRONMENT)
    import ray

    ray.init(num_cpus=job["workers"], include_dashboard=False, log_to_driver=False)
    began = time.time()
    rows = run(kind, job)
    Path(sys.argv[3]).write_text(json.dumps({"began": began, "ended": time.time(), "trials": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
