"""What all-add and the best network of a search over scenes see: a picture for the report, and what decoding takes."""

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
    """Draw validation images as they are, as all-add and as the best trial see them, and time its decoding; once.

    Does nothing for classifiers, for a run without a feasible trial, and where the best one's weights are gone.

    Raises:
        SelectionError: the data have changed.
        StoreError: the run's record cannot be used.
    """
    view = RunView.load(folder).estimated()
    best = view.front[0] if view.front else None
    if view.task == "classification" or best is None or best.result.number not in kept_numbers(view, folder):
        return
    base = view.baseline_trial
    beside = None if base is None or base.result.number == best.result.number else base
    if beside is not None and beside.result.number not in kept_numbers(view, folder):
        beside = None
    seen = {"trial": best.result.number, "baseline": None if beside is None else beside.result.number}
    if all((view.seen or {}).get(name) == value for name, value in seen.items()) and (folder / PICTURE_NAME).is_file():
        return
    with RunRecord.open(folder) as record:
        networks = TrainedNetworks(record.view, recorded_config(record.view, {}), say)
        assert isinstance(networks.trainer.data, SceneData)
        say(f"looking at what trial {best.result.number} sees")
        with intra_op_threads(1):
            network, data = networks.network(best), networks.trainer.data
            shown = [network] if beside is None else [networks.network(beside), network]
            picture, files = _picture(shown, data, networks.device)
            told: dict[str, Any] = {**seen, "files": files, "least_score": LEAST_SCORE}
            task = task_for(network, data)
            if isinstance(task, DetectionTask):
                images, _ = moved(*data.val.batch(evenly_spaced(len(data.val), 1)), networks.device)
                told["decoding"] = decoding_latency(
                    network, task, network_inputs(images, data), networks.protocol
                ).to_json()
        write_whole(folder / PICTURE_NAME, picture)
        record.put({"seen": told})


def _picture(networks: Sequence[nn.Module], data: SceneData, device: torch.device) -> tuple[bytes, list[str]]:
    """A PNG, each image with what is there, then with what each network finds there; and the images' names."""
    there = torch.tensor([place for place in range(len(data.val)) if _shows(data, place)] or [0])
    chosen = there[evenly_spaced(len(there), IMAGES)]
    images, targets = data.val.batch(chosen)
    inputs, _ = moved(images, targets, device)
    with torch.inference_mode():
        found = [_found(network, data, network(network_inputs(inputs, data))) for network in networks]
    views = 1 + len(found)
    again = images.repeat_interleave(views, dim=0)
    beside = [target for row in zip(targets, *found, strict=True) for target in row]
    picture = draw_scenes(again, beside, data.categories, columns=4 if views == 2 else views)
    return picture, [data.val.files[int(place)] for place in chosen]


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
