"""What a trial costs beside its training, in data and in latency: ours beside the ordinary way, in turn."""

from __future__ import annotations

import contextlib
import io
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.timing import in_turn, show
from search_spaces import InputSpec, SearchSpace
from trials.data import DataConfig, augment_scenes, load_data
from trials.data.fitting import PAD_GREY
from trials.data.readers.masks import IGNORED
from trials.data.scene_augmentation import COLOUR, ZOOM
from trials.data.scenes import SceneSplit, Target
from trials.data.survey import files_key, read_headers, walk
from trials.judge import SCREENING_ERROR
from trials.latency import measure_latency
from trials.tasks.average_precision import average_precision
from trials.trial import Latency, LatencyProtocol

if TYPE_CHECKING:
    from torchvision.transforms import v2

Augmentation = Callable[[Tensor, Sequence[Target], torch.Generator], tuple[Tensor, list[Target]]]

BATCH, OBJECTS = 16, 6
IMAGES, CATEGORIES = 400, ("red", "green", "blue")


def main() -> None:
    """Augmentation of scenes, COCO's figures, loading a folder again and a trial's latency beside the ordinary way."""
    torch.set_num_threads(1)
    for side in (64, 128, 256):
        augmentation(side)
    for found in (100, 300):
        figures(found)
    loading(20_000)
    for space, side in (("resnet20", 32), ("resnet18", 64), ("resnet50", 32)):
        screening(space, side)


def augmentation(side: int) -> None:
    """A batch of scenes with boxes, as `augment_scenes` and as torchvision's transforms image by image."""
    images, targets = scenes(BATCH, side)
    print(f"  augmentation of {BATCH} scenes of {side} pixels with {OBJECTS} boxes each")
    ways = {"torchvision's transforms, image by image": augment_one_by_one, "augment_scenes": augment_scenes}

    def augmented(way: Augmentation) -> None:
        way(images, targets, torch.Generator().manual_seed(0))

    show(in_turn({name: partial(augmented, way) for name, way in ways.items()}, rounds=11))


def figures(found: int) -> None:
    """COCO's figures of a validation split, as `average_precision` and as pycocotools."""
    split, detections = detected(IMAGES, found)
    print(f"  COCO's figures of {IMAGES} images with {found} detections each")
    show(
        in_turn(
            {
                "pycocotools": lambda: by_pycocotools(split, detections),
                "average_precision": lambda: average_precision(detections, split, CATEGORIES),
            },
            rounds=5,
        )
    )


def loading(count: int) -> None:
    """A folder of JPEGs that another process has loaded: beside opening the headers of all, as each worker once did."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "images"
        write_images(root, count)
        os.environ["FUSION_NAS_CACHE"] = str(Path(place) / "cache")
        config = DataConfig(f"folder:{root}")
        load_data(config)
        names = walk(root)
        states = "list and ask for the state of each file"
        print(f"  a folder of {count:,} JPEGs of 32 pixels, loaded before")
        show(
            in_turn(
                {
                    "list and open all headers": lambda: read_headers(root, walk(root)),
                    states: lambda: files_key([], root, walk(root)),
                    "load_data": lambda: load_data(config),
                },
                rounds=5,
            )
        )
        assert len(names) == count


def screening(name: str, side: int) -> None:
    """A trial's latency: with all of the protocol's passes, and until its standard error is half a per cent."""
    space = SearchSpace.named(name, InputSpec(3, side, 10))
    candidate, reference = (space.build(choice).eval() for choice in (space.sample(random.Random(0)), space.baseline))
    images = torch.zeros(1, 3, side, side).contiguous(memory_format=torch.channels_last)
    protocol = LatencyProtocol(attempts=1)
    found: dict[float, list[Latency]] = {0.0: [], SCREENING_ERROR: []}

    def measured(enough: float) -> None:
        found[enough].append(measure_latency(candidate, reference, images, protocol, None, enough))

    print(f"  latency of a trial of {name} at {side} pixels")
    ways = {"all passes": 0.0, "until precise enough": SCREENING_ERROR}
    show(in_turn({way: partial(measured, enough) for way, enough in ways.items()}, rounds=7))
    for way, enough in ways.items():
        quotients = [one.p50_ms / one.nominal_reference_p50_ms for one in found[enough]]
        passes = statistics.median(one.passes for one in found[enough])
        spread = statistics.stdev(quotients) / statistics.fmean(quotients)
        print(f"    {way}: {passes:.0f} passes, {statistics.median(quotients):.3f} times all-add, SD {spread:.1%}")


# ---- made data


def write_images(root: Path, count: int) -> None:
    """JPEGs in ten classes."""
    pixels = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        made = Image.fromarray(pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        made.save(folder / f"{number:06}.jpg", quality=50)


def scenes(count: int, side: int) -> tuple[Tensor, list[Target]]:
    from torchvision import tv_tensors

    generator = torch.Generator().manual_seed(0)
    targets: list[Target] = []
    for number in range(count):
        box = boxes(OBJECTS, side, generator)
        targets.append({
            "image_id": number, "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(side, side)),
            "labels": torch.arange(OBJECTS), "area": (box[:, 2:] - box[:, :2]).prod(dim=1),
            "iscrowd": torch.arange(OBJECTS) % 5 == 4,
        })  # fmt: skip
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator), targets


def boxes(count: int, side: int, generator: torch.Generator) -> Tensor:
    corner = torch.rand((count, 2), generator=generator) * 0.6 * side
    return torch.cat([corner, corner + 2 + torch.rand((count, 2), generator=generator) * 0.35 * side], dim=1)


def detected(count: int, found: int) -> tuple[SceneSplit, list[dict[str, Tensor]]]:
    """Images of 64 pixels with two objects each, and as many detections in each as are asked for."""
    generator = torch.Generator().manual_seed(0)
    box = boxes(2 * count, 64, generator)
    split = SceneSplit(
        images=torch.zeros((count, 3, 1, 1), dtype=torch.uint8).expand(-1, -1, 64, 64),
        files=tuple(f"{number}.png" for number in range(count)),
        sizes=torch.full((count, 2), 64), scales=torch.ones(count, 2), first=torch.arange(count + 1) * 2,
        boxes=box, labels=torch.arange(2 * count) % len(CATEGORIES), areas=(box[:, 2:] - box[:, :2]).prod(dim=1),
        crowd=torch.zeros(2 * count, dtype=torch.bool),
    )  # fmt: skip
    return split, [
        {
            "boxes": torch.cat([box[2 * number : 2 * number + 2] + 1, boxes(found - 2, 64, generator)]),
            "scores": torch.rand(found, generator=generator),
            "labels": torch.randint(0, len(CATEGORIES), (found,), generator=generator),
        }
        for number in range(count)
    ]


# ---- the ordinary ways


def augment_one_by_one(
    images: Tensor, targets: Sequence[Target], generator: torch.Generator
) -> tuple[Tensor, list[Target]]:
    """The definition of `augment_scenes`: torchvision's transforms of each image by itself, under its own seed."""
    from torchvision import tv_tensors

    seeds = torch.randint(2**62, (len(targets),), generator=generator).tolist()
    augmented = torch.empty_like(images)
    changed: list[Target] = []
    with torch.random.fork_rng(devices=[]):
        for place, (seed, target) in enumerate(zip(seeds, targets, strict=True)):
            torch.manual_seed(seed)
            image, moved = _transforms(int(images.shape[-1]))(tv_tensors.Image(images[place]), dict(target))
            augmented[place] = image
            changed.append(_remaining(moved))
    return augmented, changed


@lru_cache(maxsize=8)
def _transforms(side: int) -> v2.Compose:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    return v2.Compose([
        v2.RandomHorizontalFlip(),
        v2.ScaleJitter((side, side), scale_range=ZOOM),
        v2.RandomCrop(side, pad_if_needed=True, fill={tv_tensors.Image: PAD_GREY, tv_tensors.Mask: IGNORED}),
        v2.ClampBoundingBoxes(),
        v2.ColorJitter(brightness=COLOUR, contrast=COLOUR, saturation=COLOUR),
    ])  # fmt: skip


def _remaining(target: Target) -> Target:
    if "boxes" not in target:
        return target
    from torchvision.transforms import v2

    placed, there = v2.functional.sanitize_bounding_boxes(target["boxes"], min_size=1.0)
    sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
    kept = {name: target[name][there] for name in ("labels", "iscrowd")}
    return {**target, **kept, "boxes": placed, "area": sides.prod(dim=1)[there]}


def by_pycocotools(split: SceneSplit, detections: Sequence[dict[str, Tensor]]) -> list[float]:
    """The twelve figures, from boxes that are in the pixels of the originals already."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(annotations: list[dict[str, Any]]) -> Any:
        made = COCO()
        made.dataset = {
            "images": [{"id": number} for number in range(len(split))],
            "categories": [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)],
            "annotations": [{**annotation, "id": place} for place, annotation in enumerate(annotations, start=1)],
        }
        made.createIndex()
        return made

    def annotation(image: int, box: list[float], label: int, **more: float) -> dict[str, Any]:
        size = box[2] - box[0], box[3] - box[1]
        area = size[0] * size[1]
        return {"image_id": image, "category_id": label, "bbox": [*box[:2], *size], "area": area, "iscrowd": 0, **more}

    with contextlib.redirect_stdout(io.StringIO()):
        truth = index([
            annotation(place // 2, box, label)
            for place, (box, label) in enumerate(zip(split.boxes.tolist(), split.labels.tolist(), strict=True))
        ])  # fmt: skip
        found = index([
            annotation(image, box, label, score=score)
            for image, one in enumerate(detections)
            for box, label, score in zip(
                one["boxes"].tolist(), one["labels"].tolist(), one["scores"].tolist(), strict=True
            )
        ])  # fmt: skip
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures: list[float] = evaluation.stats.tolist()
    return figures
