"""What is wrong with a dataset, though it can be used: leaks, repeats, images left out; free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trials.data.config import one_line
from trials.data.content import Digests

EXAMPLES = 3  # of each finding: names of a few, and how many more
_WHITE = 65_535  # of 16-bit grey
_MOST_KEPT = 200  # examples of what was left out that the record keeps, so that it can be mended from there

Names = Callable[[int], str]


@dataclass(frozen=True)
class Finding:
    """How many images (or files, or entries) it is true of, and what the first few are called."""

    images: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, all_of_it: Sequence[str]) -> Finding:
        return cls(len(all_of_it), tuple(one_line(each) for each in all_of_it[:EXAMPLES]))

    @classmethod
    def listing(cls, all_of_it: Sequence[str]) -> Finding:
        """With many more of them."""
        return cls(len(all_of_it), tuple(one_line(each) for each in all_of_it[:_MOST_KEPT]))


@dataclass(frozen=True)
class Findings:
    """What was found in a dataset. Equal images are those of equal pixels, as decoded and resized.

    val_in_train, test_in_train: images of the split that are training images too: scores on it are too high.
    test_in_val: test images that are validation images; finalists are not judged by either of these.
    repeated: training images that equal an earlier one. unreadable: files that were left out.
    dropped: bad entries that were left out. left_out: good images that went with a bad annotation of theirs.
    turned: images whose EXIF orientation was applied. deep: images of 16 bits a pixel, read at 8.
    areas: annotations whose area cannot be that of their object.
    not_read: files of the folder that are not read, by the reason. remarks: whole sentences on what is odd.
    """

    val_in_train: Finding = Finding()
    test_in_train: Finding = Finding()
    repeated: Finding = Finding()
    unreadable: Finding = Finding()
    dropped: Finding = Finding()
    left_out: Finding = Finding()
    turned: Finding = Finding()
    deep: Finding = Finding()
    areas: Finding = Finding()
    not_read: Mapping[str, Finding] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    test_in_val: Finding = Finding()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_equal(digests: Mapping[str, tuple[Digests, Names]]) -> Findings:
    """What is to be found in the splits' image digests; images and scenes alike."""
    train, train_names = digests["train"]
    leaks = {
        split: shared(*digests[split], train, train_names) if split in digests else Finding()
        for split in ("val", "test")
    }
    return Findings(
        val_in_train=leaks["val"], test_in_train=leaks["test"], repeated=repeated(train, train_names),
        test_in_val=shared(*digests["test"], *digests["val"]) if {"val", "test"} <= digests.keys() else Finding(),
    )  # fmt: skip


def unseen(digests: Mapping[str, Digests]) -> NDArray[np.int64]:
    """Positions of the test images that are neither training nor validation images; none without a test split."""
    if "test" not in digests:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(~np.isin(digests["test"], np.concatenate([digests["train"], digests["val"]])))


def find_unread(aside: Mapping[str, Sequence[str]]) -> dict[str, Finding]:
    """The files that are not read, by the reason, the most frequent first."""
    return {why: Finding.of(files) for why, files in sorted(aside.items(), key=lambda item: (-len(item[1]), item[0]))}


def of_few_levels(peaks: Iterable[int]) -> tuple[str, ...]:
    """What is to be said of images of 16 bits a pixel with these largest values: of dark ones 8 bits hold little."""
    largest = max(peaks, default=_WHITE)
    if largest >= _WHITE // 4:
        return ()
    levels = round(largest * 255 / _WHITE) + 1
    return (
        f"no 16-bit image has a value above {largest:,} of {_WHITE:,}: {levels} of 256 grey levels are used at 8 bits; "
        "multiply the values before, if they are from 0 to something less",
    )


_SAID = {
    "val_in_train": ("validation image is a training image", "validation images are training images", "too"),
    "test_in_train": ("test image is a training image", "test images are training images", "too"),
    "test_in_val": ("test image is a validation image", "test images are validation images", "too"),
    "repeated": ("training image repeats", "training images repeat", "another one"),
    "unreadable": ("image cannot be read and is", "images cannot be read and are", "left out"),
    "dropped": ("bad entry is", "bad entries are", "left out"),
    "left_out": ("image is", "images are", "left out with a bad annotation"),
    "areas": ("annotation has", "annotations have", "an area that cannot be its object's: that of the box is taken"),
    "deep": ("image has 16 bits a pixel, and is", "images have 16 bits a pixel, and are", "read at 8 (value / 257)"),
    "turned": ("image is", "images are", "turned, with what is annotated, as the EXIF orientation says"),
}


def sentences(findings: Mapping[str, Any]) -> list[str]:
    """`Findings.to_json` in words: a sentence for each kind that was found, the gravest first."""
    said = []
    for kind, (one, many, rest) in _SAID.items():
        found = findings.get(kind) or {}
        count = int(found.get("images", 0))
        if count:
            said.append(f"{count:,} {one if count == 1 else many} {rest}: {listed(found['examples'], count)}")
    said += findings.get("remarks") or ()
    if not_read := findings.get("not_read"):
        reasons = (
            f"{why}: {one['images']:,} ({listed(one['examples'], int(one['images']))})" for why, one in not_read.items()
        )
        count = sum(int(one["images"]) for one in not_read.values())
        said.append(f"{count:,} {'file is' if count == 1 else 'files are'} not read; {'; '.join(reasons)}")
    return said


def listed(examples: Iterable[str], count: int) -> str:
    """`a, b and 7 more`, of `count` in all."""
    few = list(examples)[:EXAMPLES]
    return ", ".join(few) + (f" and {count - len(few):,} more" if count > len(few) else "")


def shared(digests: Digests, names: Names, train: Digests, train_names: Names) -> Finding:
    """The images of `digests` [N] that are among those of `train` [M]."""
    order = np.argsort(train, kind="stable")
    places = np.searchsorted(train, digests, sorter=order).clip(max=len(train) - 1)
    hits = np.flatnonzero(train[order[places]] == digests)
    examples = (one_line(f"{names(int(i))} = {train_names(int(order[places[i]]))}") for i in hits[:EXAMPLES])
    return Finding(len(hits), tuple(examples))


def repeated(digests: Digests, names: Names) -> Finding:
    """The images of `digests` [N] that equal an earlier one."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    earliest = first[which.reshape(-1)]
    later = np.flatnonzero(earliest != np.arange(len(digests)))
    examples = (one_line(f"{names(int(i))} = {names(int(earliest[i]))}") for i in later[:EXAMPLES])
    return Finding(len(later), tuple(examples))
