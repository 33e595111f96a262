"""What a finalist is trained on and judged by: all images but the test split, and of that what was never seen."""

from __future__ import annotations

from dataclasses import replace

import torch

from trials.data import DataError, ImageData, SceneSplit, Split
from trials.tasks.task import Data


def final_data(data: Data) -> Data:
    """The data of a search as those of its finalists: training and validation images to train on, and as validation
    split those that they are judged by. Statistics and fingerprint stay the search's.

    Raises DataError as `judged_split` does.
    """
    judged = judged_split(data)
    if isinstance(data, ImageData):
        assert isinstance(judged, Split)
        train, val = data.train, data.val
        images = torch.cat([train.images, val.images.to(train.images.device)])
        labels = torch.cat([train.labels, val.labels.to(train.labels.device)])
        return replace(data, train=Split(images, labels), val=judged, test=None)
    assert isinstance(judged, SceneSplit)
    return replace(data, train=data.train.joined(data.val), val=judged, test=None)


def judged_split(data: Data) -> Split | SceneSplit:
    """The test images that equal no training or validation image.

    Raises DataError where there is no test split, or nothing of it is left.
    """
    test, unseen = data.test, data.unseen
    if test is None:
        raise DataError(
            f"{data.name} has no test split, and none was cut when the search began: finalists have nothing to be "
            "judged by; give finalists none, or a test_fraction to a new search"
        )
    if not len(unseen):
        raise DataError(
            f"{data.name}: all {len(test)} test images are training or validation images too: finalists have nothing "
            "to be judged by; give other test images, or finalists none"
        )
    if len(unseen) == len(test):
        return test
    if isinstance(test, SceneSplit):
        return test.take(unseen)
    there = unseen.to(test.images.device)
    return Split(test.images[there], test.labels[there])
