"""What a finalist is trained on and judged by: all images but the test split, and of that what was never seen."""

from __future__ import annotations

from dataclasses import replace

import torch

from trials.data import DataError, ImageData, Split
from trials.tasks.task import Data


def final_data(data: Data) -> Data:
    """The data of a search as those of its finalists: training and validation images to train on, and as validation
    split the test images that equal none of these. Statistics and fingerprint stay the search's.

    Raises DataError where there is no test split, or nothing of it is left.
    """
    if data.test is None:
        raise DataError(
            f"{data.name} has no test split, and none was cut when the search began: finalists have nothing to be "
            "judged by; give finalists none, or a test_fraction to a new search"
        )
    if not len(data.unseen):
        raise DataError(
            f"{data.name}: all {len(data.test)} test images are training or validation images too: finalists have "
            "nothing to be judged by; give other test images, or finalists none"
        )
    if isinstance(data, ImageData):
        train, val, test = data.train, data.val, data.test
        images = torch.cat([train.images, val.images.to(train.images.device)])
        labels = torch.cat([train.labels, val.labels.to(train.labels.device)])
        unseen = data.unseen.to(test.images.device)
        judged = test if len(unseen) == len(test) else Split(test.images[unseen], test.labels[unseen])
        return replace(data, train=Split(images, labels), val=judged, test=None)
    judged_scenes = data.test if len(data.unseen) == len(data.test) else data.test.take(data.unseen)
    return replace(data, train=data.train.joined(data.val), val=judged_scenes, test=None)
