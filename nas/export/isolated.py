"""Runs an exported model.py where this package cannot be imported: `python -I -B isolated.py REQUEST ANSWER`.

Run as a script it sees only torch; imported, it lends the same evaluation to the other side of the comparison.
The two files are torch's own, read with weights_only: they live for seconds in a folder of the export's.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: As trials are evaluated.
BATCH = 256


@contextmanager
def one_thread() -> Iterator[None]:
    """The order of sums, and so the last bits, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def logits_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """float32 [N, C, H, W] -> logits [N, classes], in one batch, channels last as trials are evaluated."""
    with torch.inference_mode():
        result: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return result.clone()


def logits_of_images(forward: Callable[[Tensor], Tensor], scale: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """uint8 [N, C, H, W] -> logits [N, classes], in batches."""
    return torch.cat([forward(scale(batch)) for batch in torch.split(images, BATCH)])


class Refused(importlib.abc.MetaPathFinder):
    """Makes packages unimportable, even where they are installed beside torch."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"an exported model.py may not import {fullname}", name=fullname)


def main(request: str, answer: str) -> None:
    asked = torch.load(request, weights_only=True)
    sys.meta_path.insert(0, Refused(asked["refused"]))
    spec = importlib.util.spec_from_file_location("exported_model", asked["model"])
    assert spec is not None
    assert spec.loader is not None
    model = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = model  # as an import does; dataclasses look there
    spec.loader.exec_module(model)
    network = model.load().to(memory_format=torch.channels_last)
    with one_thread():
        answers = {name: logits_of(network, batch) for name, batch in asked["batches"].items()}
        if asked["images"] is not None:
            answers["images"] = logits_of_images(lambda x: logits_of(network, x), model.preprocess, asked["images"])
    torch.save(answers, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
