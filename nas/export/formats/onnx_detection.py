"""detect.onnx: from a detector's outputs to boxes, as an ONNX graph that stands behind model.onnx.

What model.py's `decode` does of one image, with ONNX's own NonMaxSuppression: whoever runs the network elsewhere needs
no code of ours for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from nas.export.standalone_detection import anchor_boxes, best_detections, distances_to_boxes, offsets_to_boxes
from trials.tasks.detection import Decoding

NAME = "detect.onnx"
_OPSET = 18
_LIMITS = ("score_threshold", "candidates_per_level", "nms_iou", "detections_per_image")
_GIVES = {
    "boxes": "float32 [K, 4]: left, top, right, bottom in pixels of what the network was given, the best first",
    "scores": "float32 [K]",
    "labels": "int64 [K], indices of `classes`",
}


class _Graph:
    """Steps one after another; each gives one tensor, by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def step(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        names = list(outputs) or [f"t{len(self.nodes)}"]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def constant(self, value: NDArray[Any] | Sequence[Any] | float, kind: type[numpy.generic] = numpy.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(value, dtype=kind), name))
        return name

    def whole(self, value: NDArray[Any] | Sequence[Any] | int) -> str:
        return self.constant(value, numpy.int64)


def write_detection(decoding: Decoding, names: Sequence[str], classes: int, size: int, path: Path) -> dict[str, Any]:
    """The graph: outputs of the network for one image [1, A, ...], by their `names`, -> `boxes`, `scores`, `labels`.

    `size`: of the image, in pixels. What it takes and gives, JSON.
    """
    anchors = [anchor_boxes(*level_of(level), device=torch.device("cpu")).numpy() for level in decoding.levels]
    graph = _Graph()
    boxes = _boxes(graph, decoding, numpy.concatenate(anchors), size)
    values, places, labels = _candidates(graph, decoding, [len(level) for level in anchors], classes)
    candidates = graph.step("Gather", boxes, places)
    chosen = _chosen(graph, decoding, candidates, values, labels, classes)
    for name, tensor in (("boxes", candidates), ("scores", values), ("labels", labels)):
        graph.step("Gather", tensor, chosen, outputs=[name])
    count = sum(map(len, anchors))
    widths = {"cls_logits": classes, "bbox_regression": 4, "bbox_ctrness": 1}
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, widths[name]]) for name in names]
    found = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["K", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["K"]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, ["K"]),
    ]
    whole = helper.make_graph(graph.nodes, "detect", given, found, graph.constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, str(path))
    return {"takes": {name: [1, count, widths[name]] for name in names}, "gives": _GIVES}


def disagreement(path: Path, document: Mapping[str, Any], dense: Mapping[str, Tensor]) -> float:
    """Of the boxes that a detect.onnx and plain torch make of `dense` outputs for one image [1, A, ...]: the share that
    one of them alone has. `document` is arch.json.

    Raises:
        Exception: whatever ONNX Runtime meets in a file that is no such graph.
    """
    said = document["decoding"]
    scores = torch.sigmoid(dense["cls_logits"])
    to_boxes: Callable[[Tensor, Tensor], Tensor] = distances_to_boxes
    if said["head"] == "fcos":
        scores = torch.sqrt(scores * torch.sigmoid(dense["bbox_ctrness"]))
    else:
        to_boxes = partial(offsets_to_boxes, log_size_limit=said["log_size_limit"])
    levels = [(level["stride"], level["rows"], level["columns"], level["anchors"]) for level in said["levels"]]
    limits = {name: said[name] for name in _LIMITS}
    (wanted,) = best_detections(scores, dense["bbox_regression"], levels, to_boxes, document["input"]["size"], **limits)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answers = session.run(list(_GIVES), {name: tensor.contiguous().numpy() for name, tensor in dense.items()})
    boxes, values, labels = map(torch.from_numpy, answers)
    # By score and label, a box in pixels: where scores are equal but for rounding, the order may be another.
    alike = (labels[:, None] == wanted["labels"]) & ((values[:, None] - wanted["scores"]).abs() < 1e-4)
    alike &= (boxes[:, None] - wanted["boxes"]).abs().amax(dim=2) < 0.05
    alone = int((~alike.any(dim=1)).sum()) + int((~alike.any(dim=0)).sum())
    return alone / max(len(values) + len(wanted["scores"]), 1)


def level_of(level: Any) -> tuple[int, int, int, Any]:
    """As `standalone_detection` takes it."""
    return level.stride, level.rows, level.columns, level.anchors


def _boxes(graph: _Graph, decoding: Decoding, anchors: NDArray[Any], size: int) -> str:
    """Of every anchor its box [A, 4], clipped to the image."""
    centre, side = 0.5 * (anchors[:, :2] + anchors[:, 2:]), anchors[:, 2:] - anchors[:, :2]
    regression = graph.step("Squeeze", "bbox_regression", graph.whole([0]))
    first, second = graph.step("Split", regression, outputs=["first", "second"], axis=1, num_outputs=2), "second"
    if decoding.head == "fcos":
        left = graph.step("Sub", graph.constant(centre), graph.step("Mul", first, graph.constant(side)))
        right = graph.step("Add", graph.constant(centre), graph.step("Mul", second, graph.constant(side)))
    else:
        assert decoding.log_size_limit is not None
        moved = graph.step("Add", graph.step("Mul", first, graph.constant(side)), graph.constant(centre))
        limited = graph.step("Min", second, graph.constant(decoding.log_size_limit))
        sides = graph.step("Mul", graph.step("Exp", limited), graph.constant(side))
        half = graph.step("Mul", graph.constant(0.5), sides)
        left, right = graph.step("Sub", moved, half), graph.step("Add", moved, half)
    boxes = graph.step("Concat", left, right, axis=1)
    return graph.step("Clip", boxes, graph.constant(0.0), graph.constant(float(size)))


def _candidates(graph: _Graph, decoding: Decoding, counts: Sequence[int], classes: int) -> tuple[str, str, str]:
    """The best pairs of anchor and class of each level: scores, the anchors' places and classes, each [M]."""
    scores = graph.step("Sigmoid", "cls_logits")
    if decoding.head == "fcos":
        scores = graph.step("Sqrt", graph.step("Mul", scores, graph.step("Sigmoid", "bbox_ctrness")))
    flat = graph.step("Reshape", scores, graph.whole([-1]))
    values, pairs, before = [], [], 0
    for count in counts:
        pair = [graph.whole([before * classes]), graph.whole([(before + count) * classes])]
        level = graph.step("Slice", flat, *pair)
        most = graph.whole([min(decoding.candidates_per_level, count * classes)])
        best = graph.step("TopK", level, most, outputs=[f"best{before}", f"at{before}"])
        values.append(best)
        pairs.append(graph.step("Add", f"at{before}", pair[0]))
        before += count
    every = graph.step("Concat", *pairs, axis=0)
    wide = graph.whole(classes)
    return (
        graph.step("Concat", *values, axis=0),
        graph.step("Div", every, wide),
        graph.step("Mod", every, wide),
    )


def _chosen(graph: _Graph, decoding: Decoding, boxes: str, values: str, labels: str, classes: int) -> str:
    """The candidates that survive, the best first: int64 [K]. Within a class alone boxes drop each other."""
    own = graph.step(
        "Equal", graph.step("Unsqueeze", labels, graph.whole([0])), graph.whole([[n] for n in range(classes)])
    )
    by_class = graph.step("Where", own, values, graph.constant(-1.0))
    most = graph.whole([decoding.detections_per_image])
    selected = graph.step(
        "NonMaxSuppression",
        graph.step("Unsqueeze", boxes, graph.whole([0])),
        graph.step("Unsqueeze", by_class, graph.whole([0])),
        most,
        graph.constant([decoding.nms_iou]),
        graph.constant([decoding.score_threshold]),
    )
    kept = graph.step("Gather", selected, graph.whole(2), axis=1)
    count = graph.step("Min", graph.step("Shape", kept), most)
    graph.step("TopK", graph.step("Gather", values, kept), count, outputs=["surviving", "order"])
    return graph.step("Gather", kept, "order")
