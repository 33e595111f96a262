"""model.py where torch alone is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from export_networks import BASE, expected_logits, logits_alone, random_images, trained_network
from torch_alone import torch_alone

from nas.export import export_network
from search_spaces import InputSpec


def test_nothing_but_torch_can_be_imported() -> None:
    program = """
import importlib.util, sys
sys.path.append(sys.argv[1])
import torch
print(torch.__version__)
print([name for name in sys.argv[2:] if importlib.util.find_spec(name)])
"""
    others = ("numpy", "torchvision", "safetensors", "PIL", "onnx", "timm", "nas", "search_spaces")
    command = [sys.executable, "-I", "-S", "-c", program, str(torch_alone()), *others]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "choices"),
    [
        ("resnet8", 32, {"layer1.0": "cbam/4", "layer2.0": "iaff/4", "layer3.0": "concat"}),
        ("resnet8-fpn-semantic", 64, {}),
        ("net.py:Base", 32, {"add": "aff/4"}),
    ],
)
def test_it_answers_one_image_and_seven(
    name: str, size: int, choices: dict[str, str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(BASE)
    spec = InputSpec(3, size, 4)
    trained = trained_network(name, spec, choices)
    export_network(trained, tmp_path / "out", formats=["py"])
    batches = [random_images(spec, count) for count in (1, 7)]
    for images, found in zip(batches, logits_alone(tmp_path / "out", batches, tmp_path), strict=True):
        expected = expected_logits(trained, images)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
