"""What the best network of a search over scenes sees: a picture for the report, and what decoding takes beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.stages.trained import TrainedNetworks, kept_numbers
from nas.trainings.recorded import recorded_config
from nas.trainings.run_record import RunRecord
from reports.scores import PICTURE_NAME
from reports.view import RunView
from trials.data import SceneData, draw_scenes
from trials.data.scenes import Target
from trials.latency.runtimes import intra_op_threads
from trials.tasks import decoding_latency, task_for
from trials.tasks.detection import DetectionTask
from trials.tasks.inputs import moved, network_inputs
from trials.training.trainer import evenly_spaced
from trials.whole_files import write_whole

#: Validation images in the picture, and the score from which on a detection is drawn.
IMAGES, LEAST_SCORE = 4, 0.3


def look(folder: Path, say: Callable[[str], None]) -> None:
    """Draw validation images as they are and as the best trial sees them, and time its decoding; recorded once.

    Does nothing for classifiers, for a run without a feasible trial, and where the best one's weights are gone.

    Raises:
        SelectionError: the data have changed.
        StoreError: the run's record cannot be used.
    """
    view = RunView.load(folder).estimated()
    best = view.front[0] if view.front else None
    if view.task == "classification" or best is None or best.result.number not in kept_numbers(view, folder):
        return
    if (view.seen or {}).get("trial") == best.result.number and (folder / PICTURE_NAME).is_file():
        return
    with RunRecord.open(folder) as record:
        networks = TrainedNetworks(record.view, recorded_config(record.view, {}), say)
        assert isinstance(networks.trainer.data, SceneData)
        say(f"looking at what trial {best.result.number} sees")
        with intra_op_threads(1):
            network, data = networks.network(best), networks.trainer.data
            picture, files = _picture(network, data, networks.device)
            seen: dict[str, Any] = {"trial": best.result.number, "files": files, "least_score": LEAST_SCORE}
            task = task_for(network, data)
            if isinstance(task, DetectionTask):
                images, _ = moved(*data.val.batch(evenly_spaced(len(data.val), 1)), networks.device)
                seen["decoding"] = decoding_latency(
                    network, task, network_inputs(images, data), networks.protocol
                ).to_json()
        write_whole(folder / PICTURE_NAME, picture)
        record.put({"seen": seen})


def _picture(network: nn.Module, data: SceneData, device: torch.device) -> tuple[bytes, list[str]]:
    """A PNG, each image twice: with what is there, and with what the network finds there; and the images' names."""
    there = torch.tensor([place for place in range(len(data.val)) if _shows(data, place)] or [0])
    chosen = there[evenly_spaced(len(there), IMAGES)]
    images, targets = data.val.batch(chosen)
    inputs, _ = moved(images, targets, device)
    with torch.inference_mode():
        found = _found(network, data, network(network_inputs(inputs, data)))
    twice = images.repeat_interleave(2, dim=0)
    pairs = [target for pair in zip(targets, found, strict=True) for target in pair]
    return draw_scenes(twice, pairs, data.categories, columns=4), [data.val.files[int(place)] for place in chosen]


def _shows(data: SceneData, place: int) -> bool:
    return data.val.maps is not None or int(data.val.first[place]) < int(data.val.first[place + 1])


def _found(network: nn.Module, data: SceneData, outputs: Any) -> Sequence[Target]:
    task = task_for(network, data)
    if not isinstance(task, DetectionTask):
        return [{"map": classes} for classes in outputs.argmax(dim=1).to(torch.uint8).cpu()]
    return [_confident(found) for found in task.detections(outputs)]


def _confident(found: dict[str, Tensor]) -> Target:
    kept = (found["scores"] >= LEAST_SCORE).cpu()
    labels = found["labels"].cpu()[kept]
    return {
        "boxes": found["boxes"].cpu()[kept],
        "labels": labels,
        "iscrowd": torch.zeros_like(labels, dtype=torch.bool),
    }
