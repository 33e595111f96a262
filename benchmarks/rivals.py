"""An ordinary Ray Tune set-up, as its documentation would have it, and the same one tuned: our trials' rivals.

Both train the same networks with the same optimiser, schedule, epochs and images as ours, through torchvision's
transforms and a `DataLoader`, and let `OptunaSearch` propose. Run as `python -m benchmarks.rivals KIND JOB.json`, in a
process of its own: Ray reads its environment once.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from search_spaces import Architecture, InputSpec, SearchSpace

MEAN, STD = (0.286,), (0.353,)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's `FashionMNIST`: all in memory, each item a PIL image through the transforms."""

    def __init__(self, path: str, split: str, transform: Any) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.images, self.labels = archive[f"{split}_images"][:, 0], archive[f"{split}_labels"]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def loaders(job: dict[str, Any]) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation data. Without workers of its own: on two cores with two trials they only cost."""
    plain = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    changed = [transforms.RandomCrop(28, padding=4), transforms.RandomHorizontalFlip(), *plain]
    train = Pictures(job["images"], "train", transforms.Compose(changed))
    val = Pictures(job["images"], "val", transforms.Compose(plain))
    return (
        DataLoader(train, batch_size=job["recipe"]["batch_size"], shuffle=True, drop_last=True),
        DataLoader(val, batch_size=256),
    )


def train(
    choices: dict[str, str], job: dict[str, Any], data: tuple[DataLoader[Any], DataLoader[Any]]
) -> Iterator[dict[str, Any]]:
    """One trial; yields what is reported after every epoch, with the clock of its parts."""
    recipe, (batches, held_out) = job["recipe"], data
    space = SearchSpace.named(job["space"], InputSpec(1, 28, 10))
    network = space.build(Architecture.from_json({"space": space.name, "choices": choices}))
    optimiser = torch.optim.SGD(
        network.parameters(), lr=recipe["peak_lr"], momentum=recipe["momentum"], weight_decay=recipe["weight_decay"],
        nesterov=True,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe["peak_lr"], total_steps=recipe["epochs"] * len(batches), pct_start=recipe["warmup_fraction"],
        cycle_momentum=False,
    )  # fmt: skip
    began, images = time.time(), 0
    for epoch in range(recipe["epochs"]):
        network.train()
        for inputs, labels in batches:
            optimiser.zero_grad()
            loss = F.cross_entropy(network(inputs), labels, label_smoothing=recipe["label_smoothing"])
            loss.backward()
            optimiser.step()
            schedule.step()
            images += len(inputs)
        trained = time.time()
        if epoch + 1 < recipe["epochs"]:
            # Ray's examples judge the network after every epoch, which would only slow these down.
            yield {"accuracy": 0.0}
    accuracy = evaluate(network, held_out)
    yield {
        "accuracy": accuracy, "began": began, "trained": trained, "evaluated": time.time(),
        "images_per_second": images / (trained - began),
    }  # fmt: skip


@torch.inference_mode()
def evaluate(network: nn.Module, data: DataLoader[Any]) -> float:
    network.eval()
    correct = sum(int((network(inputs).argmax(1) == labels).sum()) for inputs, labels in data)
    return correct / len(data.dataset)  # type: ignore[arg-type]


def run(kind: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Every trial of `job["architectures"]`, two at a time, with the clock of its ends."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Timed(OptunaSearch):  # type: ignore[misc]
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
        for row in train(config, job, loaders(job)):
            with tempfile.TemporaryDirectory() as folder:
                torch.save(row, Path(folder) / "checkpoint.pt")
                tune.report(row, checkpoint=tune.Checkpoint.from_directory(folder))

    class Warm(tune.Trainable):
        """A class trainable whose actor is used again, with the data it has."""

        def setup(self, config: dict[str, Any]) -> None:
            self.data = loaders(job)
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.rows = train(new_config, job, self.data)
            return True

        def step(self) -> dict[str, Any]:
            row = next(self.rows)
            return {**row, "done": "trained" in row}

    chosen = {"ordinary": trainable, "tuned": Warm}[kind]
    with tempfile.TemporaryDirectory() as scratch:
        results = tune.Tuner(
            tune.with_resources(chosen, {"cpu": 1}),
            param_space=offered,
            tune_config=tune.TuneConfig(
                search_alg=searcher, num_samples=len(job["architectures"]), max_concurrent_trials=job["workers"],
                reuse_actors=kind == "tuned",
            ),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()  # fmt: skip
        rows = [r.metrics for r in results if r.metrics and "trained" in r.metrics]
    for row in rows:
        row["asked"], row["ended"] = searcher.asked[row["trial_id"]], searcher.ended[row["trial_id"]]
    wanted = ("accuracy", "began", "trained", "evaluated", "images_per_second", "asked", "ended")
    return [{name: row[name] for name in wanted} for row in rows]


def main() -> None:
    kind, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    if kind == "tuned":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray

    ray.init(num_cpus=job["workers"], include_dashboard=False, log_to_driver=False)
    began = time.time()
    rows = run(kind, job)
    Path(sys.argv[3]).write_text(json.dumps({"began": began, "ended": time.time(), "trials": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
