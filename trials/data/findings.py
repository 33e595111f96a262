"""What is wrong with a dataset, though it can be used: leaks, repeats, images left out; free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trials.data.content import Digests

EXAMPLES = 3  # of each finding: names of a few, and how many more

Names = Callable[[int], str]


@dataclass(frozen=True)
class Finding:
    """How many images it is true of, and what the first few are called."""

    images: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, all_of_it: Sequence[str]) -> Finding:
        return cls(len(all_of_it), tuple(all_of_it[:EXAMPLES]))


@dataclass(frozen=True)
class Findings:
    """What was found in a dataset. Equal images are those of equal pixels, as decoded and resized.

    val_in_train, test_in_train: images of the split that are training images too: scores on it are too high.
    repeated: training images that equal an earlier one. unreadable: files that were left out.
    """

    val_in_train: Finding = Finding()
    test_in_train: Finding = Finding()
    repeated: Finding = Finding()
    unreadable: Finding = Finding()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_equal(digests: Mapping[str, tuple[Digests, Names]], unreadable: Sequence[str] = ()) -> Findings:
    """What is to be found in the splits' image digests; images and scenes alike."""
    train, train_names = digests["train"]
    leaks = {
        f"{split}_in_train": shared(*digests[split], train, train_names)
        for split in ("val", "test")
        if split in digests
    }
    return Findings(**leaks, repeated=repeated(train, train_names), unreadable=Finding.of(unreadable))


_SAID = {
    "val_in_train": ("validation image is a training image", "validation images are training images", "too"),
    "test_in_train": ("test image is a training image", "test images are training images", "too"),
    "repeated": ("training image repeats", "training images repeat", "another one"),
    "unreadable": ("image cannot be read and is", "images cannot be read and are", "left out"),
}


def sentences(findings: Mapping[str, Any]) -> list[str]:
    """`Findings.to_json` in words: a sentence for each kind that was found, the gravest first."""
    said = []
    for kind, (one, many, rest) in _SAID.items():
        found = findings.get(kind) or {}
        count = int(found.get("images", 0))
        if count:
            said.append(f"{count:,} {one if count == 1 else many} {rest}: {listed(found['examples'], count)}")
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
    examples = (f"{names(int(i))} = {train_names(int(order[places[i]]))}" for i in hits[:EXAMPLES])
    return Finding(len(hits), tuple(examples))


def repeated(digests: Digests, names: Names) -> Finding:
    """The images of `digests` [N] that equal an earlier one."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    earliest = first[which.reshape(-1)]
    later = np.flatnonzero(earliest != np.arange(len(digests)))
    examples = (f"{names(int(i))} = {names(int(earliest[i]))}" for i in later[:EXAMPLES])
    return Finding(len(later), tuple(examples))
