"""A detector's outputs, and all that is needed to make boxes of them: in words and numbers, and as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from nas.export import standalone_detection
from nas.export.kinds import Kind, Output, recorded_figure, scene_fit, scene_fitting
from nas.export.literals import literal
from nas.export.sources import Sources
from search_spaces import InputSpec
from search_spaces.networks.detection import DetectionNet
from trials.tasks.detection import AnchorLevel, Decoding, DetectionTask

_MEANINGS = {
    "cls_logits": "a score for each class at each anchor, before the sigmoid",
    "bbox_ctrness": "how central the anchor is in its object, before the sigmoid",
}
_REGRESSIONS = {
    "fcos": "distances from the anchor's centre to the box's left, top, right and bottom side, in sides of the anchor",
    "retinanet": "the box's centre from the anchor's, across and down, in widths and heights of the anchor, then the "
    "natural logarithms of its width and height in these",
}
_SCORES = {
    "fcos": "sqrt(sigmoid(cls_logits[a, class]) * sigmoid(bbox_ctrness[a, 0]))",
    "retinanet": "sigmoid(cls_logits[a, class])",
}
_BOXES = {
    "fcos": "with (x, y) the anchor's centre, w and h its width and height, and (l, t, r, b) = bbox_regression[a]: "
    "left = x - l*w, top = y - t*h, right = x + r*w, bottom = y + b*h",
    "retinanet": "with (x, y) the anchor's centre, w and h its width and height, and (dx, dy, dw, dh) = "
    "bbox_regression[a], of which dw and dh are cut to log_size_limit: the box of centre (x + dx*w, y + dy*h), "
    "width w*exp(dw) and height h*exp(dh)",
}
_ANCHORS = (
    "level by level in this order, row by row from the top, in a row from the left, at each place in the order of the "
    "level's `anchors`; the box of an anchor is [left, top, right, bottom] + stride * [column, row, column, row], in "
    "pixels of what the network is given, row and column counted from 0"
)
_STEPS = [
    "compute a score for every anchor and class",
    "in each level, of the pairs of anchor and class that score above score_threshold, keep the candidates_per_level "
    "best",
    "compute their boxes and clip these to the image, 0 to image_size across and down",
    "over all levels but within each class, drop every box that overlaps a better one by an IoU above nms_iou",
    "keep the detections_per_image best; the label is the class's index in `classes`",
]

_FUNCTIONS = '''\
def decode(
    {outputs}
) -> list[dict[str, torch.Tensor]]:
    """The network's outputs for N images -> of each `boxes` [K, 4], `scores` [K], `labels` [K], the best first.

    Boxes are left, top, right, bottom in pixels of what the network was given, K at most {most}; labels index CLASSES.
    """
    scores = {scores}
    return {best}(
        scores,
        bbox_regression,
        LEVELS,
        {boxes},
        INPUT_SIZE,
        SCORE_THRESHOLD,
        CANDIDATES_PER_LEVEL,
        NMS_IOU,
        DETECTIONS_PER_IMAGE,
    )


def detect(network: nn.Module, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """uint8 [N, {channels}, {size}, {size}] -> what is found in each image, see `decode`."""
    with torch.inference_mode():
        return decode(*network(preprocess(images)))
'''


@dataclass(frozen=True)
class Detector(Kind):
    """Boxes with classes."""

    input: InputSpec
    names: tuple[str, ...]
    decoding: Decoding

    @classmethod
    def of(cls, network: DetectionNet, spec: InputSpec) -> Detector:
        return cls(spec, network.outputs, DetectionTask(network, spec.size).decoding)

    @property
    def outputs(self) -> tuple[Output, ...]:
        anchors = sum(level.rows * level.columns * len(level.anchors) for level in self.decoding.levels)
        widths = {"cls_logits": self.input.classes, "bbox_regression": 4, "bbox_ctrness": 1}
        meanings = _MEANINGS | {"bbox_regression": _REGRESSIONS[self.decoding.head]}
        return tuple(Output(name, ("N", anchors, widths[name]), meanings[name]) for name in self.names)

    @property
    def fitting(self) -> str:
        return scene_fitting(self.input)

    @property
    def fit(self) -> tuple[Callable[..., Tensor], Mapping[str, Any]]:
        return scene_fit(self.input)

    @property
    def reserved(self) -> tuple[str, ...]:
        limits = ("SCORE_THRESHOLD", "CANDIDATES_PER_LEVEL", "NMS_IOU", "DETECTIONS_PER_IMAGE")
        return ("decode", "detect", "LEVELS", "LOG_SIZE_LIMIT", *limits)

    @property
    def usage(self) -> str:
        spec = self.input
        return (
            f"    outputs = network(model.preprocess(images))     "
            f"# images: uint8 [N, {spec.channels}, {spec.size}, {spec.size}]\n"
            "    found = model.decode(*outputs)                  # of each image: boxes, scores, labels\n"
            "    found = model.detect(network, images)           # both in one\n"
            '    names = [model.CLASSES[index] for index in found[0]["labels"].tolist()]'
        )

    @property
    def example(self) -> str:
        return (
            "    (found,) = detect(network, image)\n"
            "    print(f\"{parameters:,} parameters; {len(found['scores'])} detections in a black image\")"
        )

    def constants(self) -> list[str]:
        decoding = self.decoding
        limit = [] if decoding.log_size_limit is None else [f"LOG_SIZE_LIMIT = {literal(decoding.log_size_limit)}"]
        return [
            "# Of each level its stride, rows and columns, and at each place these anchors: left, top, right, bottom.",
            "\n".join(["LEVELS = (", *(line for level in decoding.levels for line in _level(level)), ")"]),
            f"SCORE_THRESHOLD = {literal(decoding.score_threshold)}",
            f"CANDIDATES_PER_LEVEL = {literal(decoding.candidates_per_level)}",
            f"NMS_IOU = {literal(decoding.nms_iou)}",
            f"DETECTIONS_PER_IMAGE = {literal(decoding.detections_per_image)}",
            *limit,
        ]

    def functions(self, sources: Sources) -> str:
        score = "torch.sigmoid(cls_logits)"
        if self.decoding.head == "fcos":
            boxes = sources.add(standalone_detection.distances_to_boxes)
            score = f"torch.sqrt({score} * torch.sigmoid(bbox_ctrness))"
        else:
            coder = sources.add(standalone_detection.offsets_to_boxes)
            boxes = f"lambda regression, anchors: {coder}(regression, anchors, LOG_SIZE_LIMIT)"
        return _FUNCTIONS.format(
            outputs=", ".join(f"{name}: torch.Tensor" for name in self.names),
            scores=score,
            best=sources.add(standalone_detection.best_detections),
            boxes=boxes,
            most=self.decoding.detections_per_image,
            channels=self.input.channels,
            size=self.input.size,
        )

    def description(self, classes: Sequence[str]) -> dict[str, Any]:
        numbers = asdict(self.decoding)
        head, levels, limit = numbers.pop("head"), numbers.pop("levels"), numbers.pop("log_size_limit")
        return {
            "outputs": [output.to_json() for output in self.outputs],
            "classes": list(classes),
            "decoding": {
                "head": head,
                "steps": _STEPS,
                "score": _SCORES[head],
                "box": _BOXES[head],
                **numbers,
                **({} if limit is None else {"log_size_limit": limit}),
                "order_of_anchors": _ANCHORS,
                "levels": levels,
            },
        }

    def recorded(self, provenance: Mapping[str, Any]) -> str | None:
        return recorded_figure(provenance, "ap", "AP")


def _level(level: AnchorLevel) -> list[str]:
    """Lines of a tuple, the anchors on lines of their own where there are several."""
    start = f"    ({level.stride}, {level.rows}, {level.columns}, ("
    rows = [literal(anchor) for anchor in level.anchors]
    if len(rows) == 1:
        return [f"{start}{rows[0]},)),"]
    return [start, *(f"        {row}," for row in rows), "    )),"]
