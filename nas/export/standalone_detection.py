"""What an exported detector's model.py carries besides: from its dense outputs to boxes, as in its training's figures.

Needs torch alone. These very functions are written into model.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def anchor_boxes(
    stride: int, rows: int, columns: int, anchors: Sequence[Sequence[float]], device: torch.device
) -> torch.Tensor:
    """The anchors of one level [rows * columns * len(anchors), 4]: left, top, right, bottom in pixels."""
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    corners = torch.stack((x, y, x, y), dim=2).view(-1, 1, 4) * stride
    return (corners + torch.tensor(anchors, device=device)).view(-1, 4)


def distances_to_boxes(regression: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """FCOS: distances from an anchor's centre to the left, top, right and bottom, in sides of the anchor; [K, 4]."""
    centre, side = 0.5 * (anchors[:, :2] + anchors[:, 2:]), anchors[:, 2:] - anchors[:, :2]
    return torch.cat((centre - regression[:, :2] * side, centre + regression[:, 2:] * side), dim=1)


def offsets_to_boxes(regression: torch.Tensor, anchors: torch.Tensor, log_size_limit: float) -> torch.Tensor:
    """RetinaNet: the centre's offset in sides of the anchor, and the logarithm of the size in these; [K, 4]."""
    side = anchors[:, 2:] - anchors[:, :2]
    centre = regression[:, :2] * side + (anchors[:, :2] + 0.5 * side)
    half = 0.5 * (torch.exp(regression[:, 2:].clamp(max=log_size_limit)) * side)
    return torch.cat((centre - half, centre + half), dim=1)


def suppressed(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, most_iou: float, most: int
) -> torch.Tensor:
    """The best first, int64 [K], K at most `most`: of boxes [M, 4] of one label that overlap more, the better one."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = scores.argsort(descending=True, stable=True)
    kept: list[torch.Tensor] = []
    while len(left) and len(kept) < most:
        best, left = left[0], left[1:]
        kept.append(best)
        corner = torch.maximum(boxes[best, :2], boxes[left, :2])
        sides = (torch.minimum(boxes[best, 2:], boxes[left, 2:]) - corner).clamp(min=0)
        common = sides[:, 0] * sides[:, 1]
        iou = common / (areas[best] + areas[left] - common)
        left = left[~((iou > most_iou) & (labels[left] == labels[best]))]
    return torch.stack(kept) if kept else left


def best_detections(
    scores: torch.Tensor,
    regressions: torch.Tensor,
    levels: Sequence[tuple[int, int, int, Sequence[Sequence[float]]]],
    to_boxes: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    size: int,
    score_threshold: float,
    candidates_per_level: int,
    nms_iou: float,
    detections_per_image: int,
) -> list[dict[str, torch.Tensor]]:
    """Scores [N, A, classes] and regressions [N, A, 4] -> for each image `boxes` [K, 4], `scores` [K], `labels` [K].

    levels: stride, rows, columns and anchors of each; size: of the images, in pixels. The best detection comes first.
    """
    anchors = [anchor_boxes(*level, device=scores.device) for level in levels]
    places = [len(level) for level in anchors]
    found = []
    for image_scores, image_regressions in zip(scores, regressions, strict=True):
        boxes, kept, labels = [], [], []
        by_level = zip(image_scores.split(places), image_regressions.split(places), anchors, strict=True)
        for level_scores, level_regressions, level_anchors in by_level:
            flat = level_scores.flatten()
            above = torch.where(flat > score_threshold)[0]
            best, order = flat[above].topk(min(candidates_per_level, len(above)))
            place = torch.div(above[order], scores.shape[2], rounding_mode="floor")
            decoded = to_boxes(level_regressions[place], level_anchors[place])
            boxes.append(decoded.clamp(0, size))
            kept.append(best)
            labels.append(above[order] % scores.shape[2])
        candidates, values, names = torch.cat(boxes), torch.cat(kept), torch.cat(labels)
        survivors = suppressed(candidates, values, names, nms_iou, detections_per_image)
        found.append({"boxes": candidates[survivors], "scores": values[survivors], "labels": names[survivors]})
    return found
