"""What a finalist is trained on and judged by: all images but the test split, and of that what was never seen."""

from __future__ import annotations

from dataclasses import replace

import torch

from trials.data import DataError, ImageData, SceneSplit, Split
from trials.data.disk_cache import EntryWriter, cached
from trials.tasks.task import Data

#: Images that each worker may hold in memory.
IN_MEMORY_BYTES = 64 << 20
_CHUNK = 1024


def final_data(data: Data) -> Data:
    """The data of a search as those of its finalists: training and validation images to train on, and as validation
    split those that they are judged by. Statistics and fingerprint stay the search's.

    Raises DataError as `judged_split` does.
    """
    judged = judged_split(data)
    if isinstance(data, ImageData):
        assert isinstance(judged, Split)
        labels = torch.cat([data.train.labels, data.val.labels.to(data.train.labels.device)])
        return replace(data, train=Split(_joined(data), labels), val=judged, test=None)
    assert isinstance(judged, SceneSplit)
    return replace(data, train=data.train.joined(data.val), val=judged, test=None)


def _joined(data: ImageData) -> torch.Tensor:
    """The training images and the validation images after them. Many of them are put together on disk, where workers
    share them and they may be more than there is memory: as the splits that they are of."""
    parts = [data.train.images, data.val.images.to(data.train.images.device)]
    if parts[0].device.type != "cpu" or sum(part.nbytes for part in parts) <= IN_MEMORY_BYTES:
        return torch.cat(parts)

    def write(entry: EntryWriter) -> None:
        for part in parts:
            for start in range(0, len(part), _CHUNK):
                entry.append("images", part[start : start + _CHUNK].numpy())

    return torch.from_numpy(cached(f"joined-{data.fingerprint}", write).arrays["images"])


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
