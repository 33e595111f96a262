"""What a dense network is trained and judged by, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from trials.errors import TaskError
from trials.scenes import SceneData, SceneSplit
from trials.scenes.containers import Target


class Task(Protocol):
    """Between a network's outputs for a batch and the targets of its images, as `SceneSplit.batch` gives them."""

    def loss(self, outputs: Any, targets: Sequence[Target]) -> Tensor:
        """What training minimises: a scalar, comparable among batches of one size."""

    def read(self, outputs: Any, targets: Sequence[Target]) -> Any:
        """What the outputs mean, kept until the split is through."""

    def figures(self, readings: Sequence[Any], split: SceneSplit, categories: Sequence[str]) -> dict[str, Any]:
        """The metrics of a split, JSON, from what was read of its batches in order."""


def task_for(network: nn.Module, data: SceneData) -> Task:
    """The task of a network on scenes. Raises TaskError where they do not belong together, and how they would."""
    # torchvision's detectors bring torch's compiler with them: seconds, which no classifier waits for.
    from search_spaces.networks.detection import DetectionNet
    from search_spaces.networks.segmentation import SegmentationNet
    from trials.tasks.detection import DetectionTask
    from trials.tasks.segmentation import SegmentationTask

    if not isinstance(network, DetectionNet | SegmentationNet):
        raise TaskError(
            f"{type(network).__name__} neither finds boxes nor maps pixels: give a space with a head, such as "
            "resnet8-fpn-fcos or resnet8-fpn-semantic"
        )
    finds_boxes = isinstance(network, DetectionNet)
    if finds_boxes == (data.targets == "semantic"):
        wanted = "'boxes' or 'instances'" if finds_boxes else "'semantic'"
        raise TaskError(f"{data.name} was loaded with targets {data.targets!r}: this network needs {wanted}")
    if network.classes != len(data.categories):
        raise TaskError(
            f"the network tells {network.classes} classes apart, but {data.name} has {len(data.categories)}: "
            f"give the space an input of {len(data.categories)} classes"
        )
    return DetectionTask(network, data.image_size) if isinstance(network, DetectionNet) else SegmentationTask()
