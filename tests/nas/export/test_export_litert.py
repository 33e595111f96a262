"""model.tflite, where there is an environment with litert-torch; what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from export_networks import expected_logits, random_images, trained_network

from nas.export import ClassifiedImages, ExportError, export_network
from nas.export.errors import ArtefactError
from nas.export.formats import Job, Place
from nas.export.formats.litert import VARIABLE, LiteRt
from nas.export.verifying import verify
from search_spaces import InputSpec

SPEC = InputSpec(3, 32, 4)


@pytest.fixture(scope="module")
def trained():
    return trained_network("resnet8", SPEC, {"layer1.0": "cbam/4", "layer2.0": "aff/4"})


def test_without_an_environment_it_says_how_one_is_made(trained, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    why = LiteRt().missing()
    assert why is not None
    assert f"no environment with litert-torch at {tmp_path / 'gone'}" in why
    assert "uv pip install" in why


def test_an_environment_without_it_is_a_reason_in_one_line(trained, tmp_path: Path, monkeypatch) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\necho "Traceback" >&2\necho "ModuleNotFoundError: No module named litert_torch" >&2\nexit 1\n'
    )
    python.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert LiteRt().missing() is None
    (tmp_path / "out").mkdir()
    with pytest.raises(
        ExportError, match=r"^litert-torch cannot take the network: ModuleNotFoundError: .* litert_torch$"
    ):
        LiteRt().write(Job(trained, trained.build(), tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.long  # litert-torch takes half a minute
@pytest.mark.skipif(LiteRt().missing() is not None, reason=str(LiteRt().missing()))
def test_it_answers_as_the_network_does(trained, tmp_path: Path) -> None:
    images = random_images(SPEC, 20)
    labels = expected_logits(trained, images).argmax(dim=1)
    out = tmp_path / "out"
    report = export_network(trained, out, ClassifiedImages(images, labels), formats=["onnx", "tflite"])
    assert report["left_out"] == {}
    found = report["artefacts"]["model.tflite"]
    assert {"random, batch 1", "random, batch 7", "all 20 images"} <= {row["batch"] for row in found["batches"]}
    assert 0 < max(row["relative"] for row in found["batches"]) <= found["allowed"]
    assert report["accuracy"]["correct"]["model.tflite"] == 20
    assert json.loads((out / "arch.json").read_text())["model.tflite"] == {"batch": 1}
    assert not list(out.glob("model.py")), "made in passing"
    assert verify(out)["differences"]["model.tflite"]["batch 7, logits"] < 1e-4


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(LiteRt().missing() is not None, reason=str(LiteRt().missing()))
def test_a_file_that_is_none_is_told(trained, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"none")
    with LiteRt().runner(Place(tmp_path, ("logits",))) as asked, pytest.raises(ArtefactError, match="does not run"):
        asked.ask(torch.zeros(1, 3, 32, 32))()
