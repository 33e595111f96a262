"""Runs an exported model.py, model.pt2 or model.tflite where this package cannot be imported: `python -I -B
isolated.py`, asked over its pipes.

Run as a script it sees only torch; imported, it lends the same evaluation to the other side of the comparison.
A message is its length (8 bytes, little-endian) and what torch.save makes of it, read with weights_only.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Any

import torch
from torch import Tensor, nn


@contextmanager
def one_thread() -> Iterator[None]:
    """The order of sums, and so the last bits, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def outputs_of(network: Callable[[Tensor], Any], inputs: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """float32 [N, C, H, W] -> the network's outputs by name, of one batch, channels last as trials are evaluated."""
    with torch.inference_mode():
        answers = network(inputs.contiguous(memory_format=torch.channels_last))
        tensors = (answers,) if isinstance(answers, Tensor) else answers
        return {name: tensor.clone() for name, tensor in zip(names, tensors, strict=True)}


def timed(run: Callable[[], object], passes: int, max_seconds: float) -> list[float]:
    """Milliseconds of each of some warm passes; of a slow network there are fewer, but 10."""
    for _ in range(3):
        run()
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < passes and (len(found) < 10 or time.perf_counter() - start < max_seconds):
        before = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - before))
    return found


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message. A view is saved with all of its storage: give clones."""
    saved = io.BytesIO()
    torch.save(message, saved)
    stream.write(saved.tell().to_bytes(8, "little"))
    stream.write(saved.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a message. Raises EOFError where the other side has ended."""
    length = int.from_bytes(_exactly(stream, 8), "little")
    return torch.load(io.BytesIO(_exactly(stream, length)), weights_only=True)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    read = stream.read(count)
    if len(read) < count:
        raise EOFError
    return read


class Refused(importlib.abc.MetaPathFinder):
    """Makes packages unimportable, even where they are installed beside torch."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"an exported model.py may not import {fullname}", name=fullname)


def main() -> None:
    """First `model`, the path of what is to be run, `refused`, packages, `compiled`, a folder where alone compiled
    Python is looked for, and `outputs`, names; then float32 batches or, of model.py, uint8 images, one at a time, each
    answered by the outputs; or one `image`, which is timed."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what model.py prints is no answer
    asked = receive(questions)
    sys.meta_path.insert(0, Refused(asked["refused"]))
    kind = asked["model"].rpartition(".")[2]
    network, preprocess = source(asked) if kind == "py" else (LOADERS[kind](asked["model"]), None)
    with one_thread():
        while True:
            try:
                batch = receive(questions)
            except EOFError:
                return
            if isinstance(batch, dict):  # how long one image takes
                run = partial(outputs_of, network, batch["image"], asked["outputs"])
                send(answers, timed(run, batch["passes"], batch["seconds"]))
                continue
            inputs = batch if preprocess is None or batch.dtype != torch.uint8 else preprocess(batch)
            send(answers, outputs_of(network, inputs, asked["outputs"]))


def source(asked: dict[str, Any]) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The network of a model.py, and what makes its input of uint8 images."""
    sys.pycache_prefix = asked["compiled"]  # to the end: what travels may be imported as late as it is called
    spec = importlib.util.spec_from_file_location("exported_model", asked["model"])
    assert spec is not None
    assert spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = model  # as an import does; dataclasses look there
    spec.loader.exec_module(model)
    network = model.load().to(memory_format=torch.channels_last)
    return network, model.preprocess


def program(path: str) -> Callable[[Tensor], Any]:
    """The network of a model.pt2."""
    try:
        return torch.export.load(path).module()
    except Exception:  # it may call operators that these bring
        for package in ("torchvision", "torchao.quantization.pt2e"):
            with suppress(ImportError):
                importlib.import_module(package)
        return torch.export.load(path).module()


def flat(path: str) -> Callable[[Tensor], Any]:
    """The network of a model.tflite, which takes one image at a time."""
    run = importlib.import_module("ai_edge_litert.interpreter").Interpreter(path, num_threads=1).get_signature_runner()
    (given,) = run.get_input_details()

    def network(inputs: Tensor) -> tuple[Tensor, ...]:
        answers = [run(**{given: image[None].contiguous().numpy()}) for image in inputs]
        names = sorted(answers[0], key=lambda name: int(name.rpartition("_")[2]))  # output_0, output_1, …
        return tuple(torch.cat([torch.from_numpy(answer[name]) for answer in answers]) for name in names)

    return network


#: What makes a network of a file, by the file's ending.
LOADERS: dict[str, Callable[[str], Callable[[Tensor], Any]]] = {"pt2": program, "tflite": flat}


if __name__ == "__main__":
    main()
