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
from trials.tasks.agreement import agreement
from trials.tasks.detection import DetectionTask
from trials.tasks.inputs import moved, network_inputs
from trials.training.trainer import evenly_spaced
from trials.whole_files import write_whole

#: Validation images in the picture, and the score from which on a detection is drawn.
IMAGES, LEAST_SCORE = 4, 0.3
#: Validation images that two networks are compared on, and how many at once.
COMPARED, BATCH = 512, 16


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
            told: dict[str, Any] = {**seen, "least_score": LEAST_SCORE}
            places = _with_something(data)
            if beside is None:
                chosen = places[evenly_spaced(len(places), IMAGES)]
            else:
                chosen, told["compared"] = _differing(shown, data, places, networks.device)
            picture = _picture(shown, data, chosen, networks.device)
            told["files"] = [data.val.files[int(place)] for place in chosen]
            task = task_for(network, data)
            if isinstance(task, DetectionTask):
                images, _ = moved(*data.val.batch(evenly_spaced(len(data.val), 1)), networks.device)
                told["decoding"] = decoding_latency(
                    network, task, network_inputs(images, data), networks.protocol
                ).to_json()
        write_whole(folder / PICTURE_NAME, picture)
        record.put({"seen": told})


def _with_something(data: SceneData) -> Tensor:
    """Of the validation images those on which something is annotated; the first where nothing is on any."""
    there = [place for place in range(len(data.val)) if _shows(data, place)]
    return torch.tensor(there or [0])


def _shows(data: SceneData, place: int) -> bool:
    return data.val.maps is not None or int(data.val.first[place]) < int(data.val.first[place + 1])


def _differing(
    networks: Sequence[nn.Module], data: SceneData, places: Tensor, device: torch.device
) -> tuple[Tensor, dict[str, int]]:
    """Where the second of two networks is right and the first is not, most of all, and as many the other way round; and
    on how many images it agrees more with what is there, less, and alike. What does not differ fills up, in order."""
    looked = places[evenly_spaced(len(places), COMPARED)]
    gains = []
    for batch in torch.split(looked, BATCH):
        images, targets = data.val.batch(batch)
        _, there = moved(images, targets, torch.device("cpu"))
        before, said = _seen(networks, data, images, targets, device)
        seen = zip(before, said, there, strict=True)
        gains += [agreement(new, true) - agreement(old, true) for old, new, true in seen]
    order = sorted(range(len(gains)), key=lambda place: -gains[place])
    half = IMAGES // 2
    best = [place for place in order[:half] if gains[place] > 0]
    worst = [place for place in order[-half:] if gains[place] < 0]
    others = sorted(set(order) - {*best, *worst}, key=lambda place: (abs(gains[place]), place))
    told = {
        "images": len(gains), "better": sum(gain > 0 for gain in gains), "worse": sum(gain < 0 for gain in gains),
        "shown_better": len(best), "shown_worse": len(worst),
    }  # fmt: skip
    return looked[[*best, *worst, *others[: IMAGES - len(best) - len(worst)]]], told


def _picture(networks: Sequence[nn.Module], data: SceneData, chosen: Tensor, device: torch.device) -> bytes:
    """A PNG, each image with what is there, then with what each network finds there."""
    images, targets = data.val.batch(chosen)
    found = _seen(networks, data, images, targets, device)
    views = 1 + len(found)
    again = images.repeat_interleave(views, dim=0)
    beside = [target for row in zip(targets, *found, strict=True) for target in row]
    return draw_scenes(again, beside, data.categories, columns=4 if views == 2 else views)


def _seen(
    networks: Sequence[nn.Module], data: SceneData, images: Tensor, targets: Sequence[Target], device: torch.device
) -> list[Sequence[Target]]:
    """What each network finds on each image of a batch."""
    inputs, _ = moved(images, targets, device)
    with torch.inference_mode():
        return [_found(network, data, network(network_inputs(inputs, data))) for network in networks]


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
