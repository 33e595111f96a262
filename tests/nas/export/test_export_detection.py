"""A detector's ONNX graphs, one behind the other, give the boxes of the eager network and its decoding."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy
import onnx
import onnxruntime
import pytest
import torch
from export_networks import random_images, scaled, trained_network

from nas.export import export_network
from nas.export.formats import Job
from nas.export.formats.onnx_graph import OnnxGraph
from nas.export.formats.source import Source
from nas.export.hashes import write_hashes
from nas.export.trained import write_weights
from nas.export.verifying import MAX_ALONE, verify
from search_spaces import InputSpec

SPEC = InputSpec(3, 64, 3)


@pytest.mark.parametrize("name", ["resnet8-fpn-fcos", "resnet8-fpn-retinanet"])
def test_the_onnx_graphs_give_the_boxes_of_eager(name: str, tmp_path: Path) -> None:
    trained = trained_network(name, SPEC, {})
    network = trained.build()
    out = tmp_path / "out"
    out.mkdir()
    job = Job(trained, network, out)
    write_weights(trained, network, out)
    Source().write(job)
    OnnxGraph().write(job)
    assert job.facts["model.onnx"]["detect.onnx"]["gives"].keys() == {"boxes", "scores", "labels"}
    found = importlib.util.spec_from_file_location("exported_detector", out / "model.py")
    assert found is not None
    assert found.loader is not None
    model = importlib.util.module_from_spec(found)
    found.loader.exec_module(model)
    loaded = model.load()
    dense, detect = (onnxruntime.InferenceSession(str(out / file)) for file in ("model.onnx", "detect.onnx"))
    images = random_images(SPEC, 3)
    counts = []
    for image in (*images.split(1), torch.zeros_like(images[:1])):
        (wanted,) = model.detect(loaded, image)
        outputs = dense.run(None, {"images": scaled(trained, image).numpy()})
        _compared(detect, dict(zip([one.name for one in dense.get_outputs()], outputs, strict=True)), wanted)
        counts.append(len(wanted["scores"]))
    assert max(counts) > 1
    # Crowded: more than is kept, of every class, most of them overlapping.
    generator = torch.Generator().manual_seed(3)
    crowd = {output.name: torch.randn(1, *output.shape[1:], generator=generator) for output in trained.kind.outputs}
    (wanted,) = model.decode(*crowd.values())
    assert len(wanted["scores"]) == model.DETECTIONS_PER_IMAGE
    _compared(detect, {name: tensor.numpy() for name, tensor in crowd.items()}, wanted)
    empty = {name: torch.full_like(tensor, -30.0).numpy() for name, tensor in crowd.items()}
    assert [answer.shape for answer in detect.run(None, empty)] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize("name", ["resnet8-fpn-fcos", pytest.param("resnet8-fpn-retinanet", marks=pytest.mark.slow)])
def test_verify_runs_the_graph_of_detections_against_plain_torch(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export_network(trained_network(name, SPEC, {}), out, formats=["onnx"])
    assert report["left_out"] == {}
    found = verify(out)
    assert found["passed"], found
    assert found["differences"]["detect.onnx"].keys() == {"crowded, share of boxes", "sparse, share of boxes"}
    assert max(found["differences"]["detect.onnx"].values()) <= MAX_ALONE
    graph = onnx.load(out / "detect.onnx")
    (clipping,) = [node for node in graph.graph.node if node.op_type == "Clip"]
    (most,) = [constant for constant in graph.graph.initializer if constant.name == clipping.input[2]]
    most.CopyFrom(onnx.numpy_helper.from_array(numpy.array(40.0, numpy.float32), most.name))  # it was 64
    onnx.save_model(graph, str(out / "detect.onnx"))
    write_hashes(out)
    assert "finds other boxes than the decoding" in verify(out)["wrong"]["detect.onnx"]
    (out / "detect.onnx").write_bytes(b"none")
    write_hashes(out)
    assert verify(out)["wrong"]["detect.onnx"].startswith("does not run: ")


def _compared(
    detect: onnxruntime.InferenceSession, outputs: dict[str, object], wanted: dict[str, torch.Tensor]
) -> None:
    boxes, scores, labels = (torch.from_numpy(answer) for answer in detect.run(["boxes", "scores", "labels"], outputs))
    assert torch.equal(labels, wanted["labels"])
    torch.testing.assert_close(scores, wanted["scores"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(boxes, wanted["boxes"], rtol=1e-4, atol=1e-3)
