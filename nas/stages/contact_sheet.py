"""Where the best classifier of a run and its all-add network differ: validation images for the report.

A gain is made of images; a reader should see some of them. Nothing is trained: two networks look at the split once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from nas.stages.trained import TrainedNetworks, kept_numbers
from nas.trainings.recorded import recorded_config
from reports.contact import CONTACT_NAME, Contact, Shown, contact_of
from reports.verdict import verdict_of
from reports.view import RunView
from trials.data import ImageData
from trials.latency.runtimes import intra_op_threads
from trials.tasks.inputs import network_inputs
from trials.training.trainer import evenly_spaced
from trials.whole_files import write_whole

#: Images of each kind in the sheet, the side that they are shrunk to, and how many are looked at in one go.
IMAGES, SIDE, BATCH = 12, 96, 256


def look(folder: Path, say: Callable[[str], None]) -> None:
    """Keep images where the recommended trial and all-add say different things, in a file of the run's folder; once.

    Does nothing for detectors and segmenters, for a run whose best is all-add, and where their weights are gone.
    Raises SelectionError when the data have changed.
    """
    view = RunView.load(folder).estimated()
    verdict, base = verdict_of(view), view.baseline_trial
    best = view.front[0] if view.front else None
    if verdict is not None and verdict.trial is not None:
        best = view.select(str(verdict.trial))
    if view.task != "classification" or best is None or base is None or best.result.number == base.result.number:
        return
    known = contact_of(view)
    if known is not None and known.trial == best.result.number:
        return
    if not {best.result.number, base.result.number} <= kept_numbers(view, folder):
        return
    networks = TrainedNetworks(view, recorded_config(view, {}), say)
    data = networks.trainer.data
    assert isinstance(data, ImageData)
    say(f"looking at where trial {best.result.number} and all-add differ")
    with intra_op_threads(1):
        said, before = (_answers(networks.network(trial), data, networks.device) for trial in (best, base))
    labels = data.val.labels.cpu()
    right, was = said == labels, before == labels
    kinds = {"gained": right & ~was, "lost": was & ~right}
    shown = [
        Shown(kind, data.classes[int(labels[i])], data.classes[int(before[i])], data.classes[int(said[i])],
              _picture(data.val.images[i].cpu()))
        for kind, where in kinds.items()
        for i in _some(where)
    ]  # fmt: skip
    counts = {kind: int(where.sum()) for kind, where in kinds.items()}
    counts |= {"both right": int((right & was).sum()), "both wrong": int((~right & ~was).sum())}
    found = Contact(best.result.number, base.result.number, len(labels), counts, tuple(shown))
    write_whole(folder / CONTACT_NAME, json.dumps(found.to_json()))


def _answers(network: nn.Module, data: ImageData, device: torch.device) -> Tensor:
    """int64 [N]: the class that a network gives each validation image."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(data.val), BATCH):
            images = data.val.images[first : first + BATCH].to(device)
            found.append(network(network_inputs(images, data)).argmax(1).cpu())
    return torch.cat(found)


def _some(where: Tensor) -> list[int]:
    """Places at which it is true, evenly spaced over all of them."""
    places = where.nonzero()[:, 0]
    return [int(places[i]) for i in evenly_spaced(len(places), min(IMAGES, len(places)))] if len(places) else []


def _picture(image: Tensor) -> str:
    """uint8 [C, H, W] as a data address: PNG of a small one, JPEG of what was shrunk."""
    pixels = image[0].numpy() if image.shape[0] == 1 else image.permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    form = "PNG" if max(picture.size) <= SIDE else "JPEG"
    picture.thumbnail((SIDE, SIDE))
    content = BytesIO()
    picture.save(content, format=form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"
