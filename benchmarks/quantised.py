"""Which operators quantise well: ResNet-8 with each operator everywhere, float32 beside int8 in ONNX Runtime.

python -m benchmarks quantised [--train-images N] [--epochs N]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from nas.export.formats import FORMATS, Here, Job
from nas.export.formats.int8 import IMAGES, quantise
from nas.export.formats.onnx_graph import onnx_runner, write_onnx
from nas.export.standalone import normalise
from nas.export.trained import TrainedNetwork
from search_spaces import InputSpec, SearchSpace
from search_spaces.fusions import operator_names
from trials.data import DataConfig, ImageData, load_data
from trials.machine.quiet import occupied
from trials.training.loop import train
from trials.trial import Recipe


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--train-images", type=int, default=1_500)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--val-images", type=int, default=1_000)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_data(DataConfig(train_images=given.train_images))
    print(f"resnet8 on {data.name}, {given.epochs} epoch of {len(data.train)} images, one CPU thread")
    print(
        f"torch {torch.__version__}; load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores: above that, times"
    )
    print("are those of a machine that was not quiet, and only their ratio is worth reading")
    print(f"{'operator':16} {'float32':>8} {'int8':>8} {'SNR dB':>7} {'ms':>7} {'int8 ms':>8}  preparation")
    for name in operator_names():
        with tempfile.TemporaryDirectory() as folder:
            print(line(name, data, Path(folder), given.epochs, given.val_images), flush=True)


def line(name: str, data: ImageData, folder: Path, epochs: int, most: int) -> str:
    """Accuracy of both on validation images, the signal-to-noise ratio of the logits, p50 of one image."""
    space = SearchSpace.named("resnet8", InputSpec(data.channels, data.image_size, len(data.classes)), ("add", name))
    architecture = space.uniform(name)
    torch.manual_seed(0)
    network = space.build(architecture).to(memory_format=torch.channels_last)
    with occupied() as machine:
        for _ in train(network, data, Recipe(epochs=epochs, precision="float32"), 0, machine):
            pass
    trained = TrainedNetwork(space, architecture, network.state_dict(), data.classes, data.mean, data.std, {})
    job = Job(trained, trained.build(), folder)
    write_onnx(trained, job.program, folder / "model.onnx")
    inputs = normalise(data.val.images[:most], data.mean, data.std)
    ranging = normalise(data.train.images[:IMAGES], data.mean, data.std)
    try:
        how = quantise(folder / "model.onnx", folder / "model.int8.onnx", ranging)["prepared"]
    except ValueError as error:
        return f"{name:16} {error}"
    labels = data.val.labels[:most]
    runners = [onnx_runner(FORMATS[2], folder / file) for file in ("model.onnx", "model.int8.onnx")]
    exact, coarse = (torch.cat([_logits(one, batch) for batch in torch.split(inputs, 64)]) for one in runners)
    noise = 10 * math.log10(float(exact.square().mean() / (exact - coarse).square().mean().clamp(min=1e-20)))
    shares = [float((logits.argmax(dim=1) == labels).double().mean()) for logits in (exact, coarse)]
    passes: list[list[float]] = [[], []]
    for _ in range(5):  # in turn, so that what else the machine does falls on both
        for found, one in zip(passes, runners, strict=True):
            found += one.milliseconds(inputs[:1])
    times = [statistics.median(found) for found in passes]
    return f"{name:16} {shares[0]:8.2%} {shares[1]:8.2%} {noise:7.1f} {times[0]:7.2f} {times[1]:8.2f}  {how}"


def _logits(runner: Here, batch: torch.Tensor) -> torch.Tensor:
    return runner.ask(batch)()["logits"]


if __name__ == "__main__":
    main()
