"""What is wrong with a data set, entry by entry: collected, listed and counted; free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trials.data.config import DataError

_SHOWN = 3  # problems that one line names; `nas check` lists them all
_LONGEST = 80  # characters of text from a file that a message repeats

MISSING = "missing file"
UNREADABLE = "unreadable image"
SIZE = "wrong image size"
OUTSIDE = "box outside the image"
NO_AREA = "box without area"
CATEGORY = "unknown category"
DUPLICATE = "duplicate id"
OVERLAP = "overlap of splits"
MASK = "bad mask"
MALFORMED = "malformed entry"
EMPTY = "image without objects"


@dataclass(frozen=True)
class Problem:
    """One bad entry.

    file: the file it stands in, relative to the data set's folder. entry: which of its entries, such as
    "annotation 17"; empty for the file as a whole. what: what was found, and what was expected. kind: one of the
    names above, by which problems are counted.
    """

    file: str
    entry: str
    what: str
    kind: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.entry, self.what) if part)


class ProblemList:
    """Collects problems while a data set is read."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, file: str, entry: str, what: str, kind: str) -> None:
        self._found.append(Problem(file, entry, what, kind))

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class ScenesRefused(DataError):
    """A data set with bad entries under the policy "refuse"; `problems` has them all, the message the first few."""

    def __init__(self, name: str, problems: Sequence[Problem], mend: str) -> None:
        shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        super().__init__(f"{name} has {counted(problems)}: {shown}{more}. {mend}")
        self.problems = tuple(problems)


def counted(problems: Sequence[Problem]) -> str:
    """How many there are of each kind, as words: "2 bad entries (missing file 1, bad mask 1)"."""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in counts(problems).items())
    return f"{len(problems):,} bad entr{'y' if len(problems) == 1 else 'ies'} ({kinds})"


def counts(problems: Sequence[Problem]) -> dict[str, int]:
    """How many problems there are of each kind, the most frequent first."""
    return dict(Counter(problem.kind for problem in problems).most_common())


def quoted(value: object) -> str:
    """A value from a file for a message: on one line, its control signs escaped, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class BadEntry(Exception):
    """Raised by what checks one entry; whoever reads the file adds the file and the entry to it."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(what)
        self.what, self.kind = what, kind
