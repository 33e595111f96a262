"""Trained-looking networks for the export's tests, and a process in which our packages do not exist."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_alone import torch_alone

from nas.export import TrainedNetwork
from search_spaces import InputSpec, SearchSpace

PROVENANCE = {"run": "runs/one", "number": 7, "seed": 1}

#: A user's file: what networks that people write are derived from here.
BASE = """
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.stem, self.a, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, num_classes)
        self.more()

    def more(self):
        pass

    def inner(self, x):
        return x + self.a(x)

    def forward(self, x):
        return self.head(self.inner(self.stem(x)).mean((2, 3)))
"""

#: Loads a model.py where torch alone can be imported: -S hides an editable install of ours as well.
_ALONE = """
import sys
out, home, request, answer = sys.argv[1:]
sys.path.append(home)
for package in ("nas", "search_spaces", "trials", "reports"):
    try:
        __import__(package)
    except ImportError:
        continue
    sys.exit(package + " can be imported")
sys.path.append(out)
import torch
torch.set_num_threads(1)
import model
network = model.load()
with torch.inference_mode():
    asked = torch.load(request, weights_only=True)
    torch.save({"training": network.training, "logits": [network(model.preprocess(x)) for x in asked]}, answer)
"""


def trained_network(
    name: str,
    spec: InputSpec,
    choices: Mapping[str, str],
    provenance: Mapping[str, Any] = PROVENANCE,
    operators: tuple[str, ...] = ("add", "concat", "se", "cbam", "aff", "iaff"),
) -> TrainedNetwork:
    """A network whose every parameter matters: no gate is left at its neutral start."""
    space = SearchSpace.named(name, spec, operators)
    architecture = space.architecture({point.name: choices.get(point.name, "add") for point in space.points})
    torch.manual_seed(0)
    network = space.build(architecture)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.momentum = None  # statistics that fit, or activations explode and float32 decides nothing
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(16, spec.channels, spec.size, spec.size))
    channels = spec.channels
    return TrainedNetwork(
        space,
        architecture,
        {key: value.clone() for key, value in network.state_dict().items()},
        tuple(f"class {index}" for index in range(spec.classes)),
        tuple(0.1 + 0.2 * index for index in range(channels)),
        tuple(0.3 + 0.1 * index for index in range(channels)),
        dict(provenance),
    )


def random_images(spec: InputSpec, count: int) -> Tensor:
    """uint8 [count, channels, size, size]."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, spec.channels, spec.size, spec.size), generator=generator, dtype=torch.uint8)


def scaled(trained: TrainedNetwork, images: Tensor) -> Tensor:
    """What the network takes, written out apart from the code under test."""
    channels = [
        (images[:, index].float() / 255 - trained.mean[index]) / trained.std[index] for index in range(images.shape[1])
    ]
    return torch.stack(channels, dim=1)


def expected_logits(trained: TrainedNetwork, images: Tensor) -> Tensor:
    network = trained.space.build(trained.architecture)
    network.load_state_dict(dict(trained.state_dict))
    with torch.inference_mode():
        return network.eval()(scaled(trained, images))


def logits_alone(out: Path, batches: list[Tensor], scratch: Path) -> list[Tensor]:
    """The logits that OUT/model.py gives for uint8 batches in a process that has torch and nothing else."""
    request, answer = scratch / "request.pt", scratch / "answer.pt"
    torch.save(batches, request)
    command = [sys.executable, "-I", "-S", "-B", "-c", _ALONE, str(out), str(torch_alone()), str(request), str(answer)]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = torch.load(answer, weights_only=True)
    assert answers["training"] is False
    logits: list[Tensor] = answers["logits"]
    return logits
