"""Detectors and segmenters, trained for real, give what was trained where this package does not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_networks import trained_network
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.export import (
    ClassifiedImages,
    ExportError,
    TrainedNetwork,
    ValidationScenes,
    export_network,
    folder,
    validation_of,
)  # fmt: skip
from nas.export.generation import generate
from search_spaces import Architecture, InputSpec, SearchSpace
from search_spaces.errors import UserError
from trials.data import SceneConfig, SceneData, SceneSplit, load_scenes
from trials.machine.quiet import occupied
from trials.tasks import SceneRecipe, evaluate, task_for
from trials.tasks.inputs import network_inputs
from trials.training.loop import train

OPERATORS = ("add", "concat", "se", "cbam", "aff", "iaff")

#: Loads model.py where only torch's folder is on the path, and asks it for outputs and, of a detector, what it makes of
#: images and of the outputs of the network that was trained.
_ALONE = """
import sys
out, home, request, answer = sys.argv[1:]
sys.path += [home, out]
import torch
torch.set_num_threads(1)
import model
assert not {"nas", "search_spaces", "trials", "reports"} & set(sys.modules)
network = model.load()
images, trained = torch.load(request, weights_only=True)
with torch.inference_mode():
    outputs = network(model.preprocess(images))
found = [model.detect(network, images), model.decode(*outputs), model.decode(*trained)] if len(trained) > 1 else []
torch.save([outputs, found], answer)
model.main()
"""


@dataclass(frozen=True)
class Exported:
    trained: TrainedNetwork
    network: nn.Module
    data: SceneData
    out: Path
    report: dict[str, Any]

    @property
    def images(self) -> Tensor:
        return self.data.val.images[:5]

    def expected(self) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            outputs = self.network(network_inputs(self.images, self.data))
        return outputs if isinstance(outputs, tuple) else (outputs,)


def some(split: SceneSplit, count: int) -> SceneSplit:
    """The first images of a split."""
    objects = int(split.first[count])
    return SceneSplit(
        split.images[:count], split.files[:count], split.sizes[:count], split.scales[:count], split.first[: count + 1],
        split.boxes[:objects], split.labels[:objects], split.areas[:objects], split.crowd[:objects],
        maps=None if split.maps is None else split.maps[:count],
    )  # fmt: skip


def scenes(name: str, train: int, val: int, size: int) -> SceneData:
    targets = "semantic" if name.endswith("semantic") else "boxes"
    data = load_scenes(SceneConfig("scenes-mini", targets, image_size=size, train_images=train))
    return replace(data, val=some(data.val, val))


def learnt_by_heart(data: SceneData) -> SceneData:
    """Judged on images it was trained on: so few teach it nothing else, and an AP of 0 is met by anything."""
    return replace(data, val=some(data.train, len(data.val)))


def trained_on(data: SceneData, name: str, ops: dict[str, str], epochs: int) -> tuple[TrainedNetwork, nn.Module]:
    """Trained and judged as a trial is."""
    space = SearchSpace.named(name, InputSpec(3, data.image_size, len(data.categories)), OPERATORS)
    architecture = space.architecture({point.name: ops.get(point.name, "add") for point in space.points})
    torch.manual_seed(0)
    network = space.build(architecture).to(memory_format=torch.channels_last)
    with occupied() as machine:
        for _ in train(network, data, SceneRecipe(epochs=epochs, batch_size=8), 0, machine):
            pass
        figures = dict(evaluate(network, data.val, data, machine).figures)
    provenance = {"run": "runs/dense", "number": 3, "seed": 0, "figures": figures}
    return TrainedNetwork(
        space, architecture, network.state_dict(), data.categories, data.mean, data.std, provenance
    ), network.eval()


def exported(data: SceneData, name: str, ops: dict[str, str], epochs: int, out: Path) -> Exported:
    trained, network = trained_on(data, name, ops, epochs)
    return Exported(trained, network, data, out, export_network(trained, out, validation_of(data)))


def alone(made: Exported, scratch: Path) -> tuple[tuple[Tensor, ...], list[list[dict[str, Tensor]]], str]:
    """Outputs, detections and what model.py prints as a script."""
    request, answer = scratch / "request.pt", scratch / "answer.pt"
    torch.save([made.images.clone(), made.expected()], request)
    home = str(Path(torch.__file__).parents[1])
    command = [sys.executable, "-I", "-S", "-B", "-c", _ALONE, str(made.out), home, str(request), str(answer)]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outputs, found = torch.load(answer, weights_only=True)
    return (outputs if isinstance(outputs, tuple) else (outputs,)), found, done.stdout


def close(given: Tensor, expected: Tensor, relative: float = 1e-5) -> bool:
    return given.shape == expected.shape and bool((given - expected).abs().max() <= relative * expected.abs().max())


def check(made: Exported, scratch: Path) -> None:
    """The files, apart from what the export says of them itself."""
    out, expected = made.out, made.expected()
    document = json.loads((out / "arch.json").read_text())
    boxes = set() if made.data.targets == "semantic" else {"detect.onnx"}
    assert {path.name for path in out.iterdir()} == {*folder.FILES, *boxes}
    names = [output["name"] for output in document["outputs"]]
    assert [output["shape"][1:] for output in document["outputs"]] == [list(tensor.shape[1:]) for tensor in expected]
    assert document["classes"] == list(made.data.categories)

    outputs, found, printed = alone(made, scratch)
    assert all(close(given, wanted) for given, wanted in zip(outputs, expected, strict=True))
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == names
    inputs = network_inputs(made.images, made.data).contiguous().numpy()
    allowed = made.report["tolerance"]["relative"]["model.onnx"]
    for few in (1, 2, 5):
        answers = session.run(names, {"images": inputs[:few]})
        assert all(close(torch.from_numpy(g), w[:few], allowed) for g, w in zip(answers, expected, strict=True))

    space, architecture = SearchSpace.from_json(document["space"]), Architecture.from_json(document["architecture"])
    space.build(architecture).load_state_dict(load_file(out / "weights.safetensors"))
    leading = "miou" if made.data.targets == "semantic" else "ap"
    figures = made.report["figures"]
    assert list(figures[leading]) == ["recorded", "network", "model.py", "model.pt2", "model.onnx"]
    assert figures[leading]["recorded"] == made.trained.provenance["figures"][leading]
    assert max(figures[leading].values()) - min(figures[leading].values()) <= figures["tolerance"]["absolute"] <= 0.001
    assert made.report["accuracy"] is None
    compared = {(row["batch"], row["output"]) for row in made.report["artefacts"]["model.onnx"]["batches"]}
    assert {(f"all {len(made.data.val)} images", name) for name in names} < compared
    source = (out / "model.py").read_text()
    assert document["model.py"]["needs"] == (["torch"] if leading == "miou" else ["torch", "torchvision"])
    assert "search_spaces" not in source
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E,F,I", "--line-length=120"]
    assert subprocess.run([*ruff, str(out / "model.py")], check=False).returncode == 0
    assert printed.startswith(f"{sum(p.numel() for p in made.network.parameters()):,} parameters; ")
    if found:
        check_detections(made, found, document)


def check_detections(made: Exported, found: list[list[dict[str, Tensor]]], document: dict[str, Any]) -> None:
    """model.py's and, by arch.json in NumPy alone, those of a reader without torch are the task's."""
    wanted = task_for(made.network, made.data).detections(made.expected())  # type: ignore[attr-defined]
    assert sum(len(each["scores"]) for each in wanted) >= len(wanted), "nothing to compare"
    detected, decoded, of_trained = found
    for given, others in ((of_trained, wanted), (detected, decoded)):
        for image, other in zip(given, others, strict=True):
            assert all(torch.equal(image[key], other[key]) for key in ("labels", "scores", "boxes"))
    arrays = {
        output["name"]: tensor.numpy().astype(np.float64)
        for output, tensor in zip(document["outputs"], made.expected(), strict=True)
    }
    for image, each in enumerate(wanted[:2]):
        boxes, scores, labels = by_the_book(
            {name: array[image] for name, array in arrays.items()}, document["decoding"]
        )
        told = np.column_stack((100 * labels, 1000 * scores, boxes))
        known = np.column_stack((100 * each["labels"], 1000 * each["scores"], each["boxes"]))
        apart = np.abs(told[:, None] - known).max(axis=2)
        # Of two scores or overlaps that are equal but for rounding, either may be the larger.
        assert min((apart.min(axis=0) < 0.1).mean(), (apart.min(axis=1) < 0.1).mean()) > 0.95


def by_the_book(outputs: dict[str, np.ndarray], decoding: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What arch.json's `decoding` says, step by step, for one image."""
    scores = 1 / (1 + np.exp(-outputs["cls_logits"]))
    if decoding["head"] == "fcos":
        scores = np.sqrt(scores / (1 + np.exp(-outputs["bbox_ctrness"])))
    found, first = [], 0
    for level in decoding["levels"]:
        rows, columns, cell = level["rows"], level["columns"], np.array(level["anchors"])
        places = [(column, row, column, row) for row in range(rows) for column in range(columns)]
        anchors = (level["stride"] * np.array(places)[:, None] + cell).reshape(-1, 4)
        part = slice(first, first + len(anchors))
        first += len(anchors)
        boxes = boxes_of(outputs["bbox_regression"][part], anchors, decoding)
        pairs = np.argwhere(scores[part] > decoding["score_threshold"])
        values = scores[part][pairs[:, 0], pairs[:, 1]]
        best = np.argsort(-values, kind="stable")[: decoding["candidates_per_level"]]
        clipped = boxes.clip(0, decoding["image_size"])
        found += [(values[i], pairs[i, 1], clipped[pairs[i, 0]]) for i in best]
    found.sort(key=lambda each: -each[0])
    values, labels, boxes = (np.array([each[i] for each in found]) for i in range(3))
    kept: list[int] = []
    for i, box in enumerate(boxes):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if not (overlaps(box, boxes[rivals]) > decoding["nms_iou"]).any():
            kept.append(i)
        if len(kept) == decoding["detections_per_image"]:
            break
    return boxes[kept], values[kept], labels[kept]


def boxes_of(regression: np.ndarray, anchors: np.ndarray, decoding: dict[str, Any]) -> np.ndarray:
    x, y = (anchors[:, 0] + anchors[:, 2]) / 2, (anchors[:, 1] + anchors[:, 3]) / 2
    w, h = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    if decoding["head"] == "fcos":
        left, top, right, bottom = regression.T
        return np.stack((x - left * w, y - top * h, x + right * w, y + bottom * h), axis=1)
    dx, dy, dw, dh = regression.T
    width, height = (np.exp(np.minimum(size, decoding["log_size_limit"])) for size in (dw, dh))
    x, y, w, h = x + dx * w, y + dy * h, width * w, height * h
    return np.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), axis=1)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box [4] with others [K, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(0).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / np.maximum(areas - shared, 1e-12)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    ops = {"fpn.p3": "iaff/4", "fpn.p2": "aff/4", "layer3.0": "cbam/4"}
    data = learnt_by_heart(scenes("resnet8-fpn-fcos", 48, 20, 64))
    return exported(data, "resnet8-fpn-fcos", ops, 8, tmp_path_factory.mktemp("dense") / "out")


@pytest.mark.slow
def test_a_trained_detector_is_exported(detector: Exported, tmp_path: Path) -> None:
    check(detector, tmp_path)
    assert detector.report["figures"]["ap"]["network"] > 0.005
    assert "AP 0.0" in generate(detector.trained).text
    model = onnx.load(detector.out / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    document = json.loads((detector.out / "arch.json").read_text())
    assert json.loads(properties["description"])["decoding"] == document["decoding"]


@pytest.mark.slow
def test_figures_that_are_not_met_are_refused(detector: Exported) -> None:
    data, trained = detector.data, detector.trained
    ap = trained.provenance["figures"]["ap"]

    def verdict(recorded: float | None, weight: float = 1.0) -> Any:
        known = replace(trained, provenance={"figures": {"ap": recorded}})
        judge = validation_of(data).judge(known, detector.network)
        readings: dict[str, list[Any]] = {"network": [], "model.onnx": []}
        for places in torch.split(torch.arange(len(data.val)), judge.batch_size):
            with torch.inference_mode():
                outputs = detector.network(network_inputs(judge.images[places], data))
            named = dict(zip(detector.network.outputs, outputs, strict=True))  # type: ignore[arg-type]
            readings["network"].append(judge.read(named, places))
            named["bbox_regression"] = weight * named["bbox_regression"]
            readings["model.onnx"].append(judge.read(named, places))
        return judge.verdict(readings, 1e-5)

    found, off = verdict(ap + 0.0009)
    assert found["figures"]["equal"] is False
    assert off == {}
    for wrong in (ap + 0.0011, ap - 0.0011, float("nan"), None):
        with pytest.raises(ExportError, match=r"recorded has ap .* on 20 validation images"):
            verdict(wrong)
    found, off = verdict(ap, weight=3.0)
    assert "model.onnx has ap" in str(off["model.onnx"])
    assert found["figures"]["ap"].keys() == {"recorded", "network"}


def test_data_of_another_kind_is_refused(detector: Exported, tmp_path: Path) -> None:
    data, trained = detector.data, detector.trained
    classifier = trained_network("resnet8", InputSpec(3, 64, 10), {})
    other = replace(data, categories=tuple(f"other {name}" for name in data.categories))
    small = replace(data, val=replace(data.val, images=data.val.images[..., :32, :32]))
    for network, split, message in (
        (trained, ClassifiedImages(data.val.images, torch.zeros(20).long()), "is no classifier: give the scenes"),
        (classifier, ValidationScenes(data), "neither finds boxes nor maps pixels"),
        (trained, ValidationScenes(other), "the network's classes are .* those of scenes-mini other"),
        (trained, ValidationScenes(small), r"images are torch.uint8 \[20, 3, 32, 32\]: give uint8 \[20, 3, 64, 64\]"),
    ):
        with pytest.raises(UserError, match=message):
            export_network(network, tmp_path / "out", split)
    with pytest.raises(TypeError, match="no validation split of a dict"):
        validation_of({})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ops", "epochs"),
    [
        ("resnet8-fpn-fcos", {"fpn.p3": "iaff/4", "fpn.p2": "aff/4", "layer1.0": "cbam/4"}, 1),
        ("resnet8-pan-retinanet", {"fpn.p3": "cbam/4", "pan.n3": "aff/4", "pan.n4": "iaff/4"}, 4),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ("resnet8-fpn-semantic", {"fpn.p3": "aff/4", "fpn.p2": "cbam/4", "layer2.0": "se/4"}, 1),
                ("resnet20-bifpn-semantic", {"top_down.p3": "iaff/4", "bottom_up.n3": "concat"}, 1),
                ("resnet18-fpn-retinanet", {"fpn.p4": "iaff/16", "fpn.p3": "cbam/16", "layer4.1": "aff/16"}, 2),
                ("resnet18-bifpn-fcos", {"top_down.p4": "aff/16", "bottom_up.n5": "iaff/16"}, 2),
            )
        ),
    ],
)
def test_dense_networks_of_every_kind(name: str, ops: dict[str, str], epochs: int, tmp_path: Path) -> None:
    made = exported(scenes(name, 64, 40, 128), name, ops, epochs, tmp_path / "dense" / "out")
    check(made, tmp_path)


@pytest.mark.slow
def test_a_figure_that_was_not_recorded_so_leaves_nothing(tmp_path: Path) -> None:
    data = scenes("resnet8-fpn-semantic", 32, 16, 64)
    trained, _ = trained_on(data, "resnet8-fpn-semantic", {}, 1)
    miou = trained.provenance["figures"]["miou"]
    wrong = replace(trained, provenance={"figures": {"miou": miou + 0.01}})
    with pytest.raises(ExportError, match="recorded has miou"):
        export_network(wrong, tmp_path / "out", validation_of(data))
    assert list(tmp_path.iterdir()) == []
    assert export_network(replace(trained, provenance={}), tmp_path / "out", validation_of(data))["figures"]["equal"]
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["figures"]["miou"].keys() == {
        "network", "model.py", "model.pt2", "model.onnx",
    }  # fmt: skip
