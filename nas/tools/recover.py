"""`nas recover`: what can be read of a damaged run, as a new run. The old one is not touched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.tools.kept_files import readable
from reports.view import RunView
from trials.errors import StoreError
from trials.record.file import FILE_NAME
from trials.record.salvage import Saved, salvage

#: What of a run's folder belongs to its record.
_BESIDE = ("parent.safetensors", "latency-profile.json", "weights/*.safetensors", "finals/*.npz")


@dataclass(frozen=True)
class Recovered:
    """What came over: rows of the record, and files beside it (`damaged` ones were left)."""

    out: Path
    saved: Saved
    files: int
    damaged: tuple[str, ...]
    #: Why the new one cannot be read as a run; None where it can.
    unreadable: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "out": str(self.out), **self.saved.to_json(), "files": self.files, "damaged_files": list(self.damaged),
            "unreadable": self.unreadable,
        }  # fmt: skip

    def story(self) -> Iterator[str]:
        """A line for each table and each kind of loss."""
        saved = self.saved
        for table, rows in saved.rows.items():
            missing = saved.missing.get(table, [])
            among = f"; among them {_numbers(missing)} not there" if missing else ""
            yield f"saved   {table:<13} {rows:,}{among}"
        yield f"saved   {'files':<13} {self.files:,} of weights and images"
        if saved.untrained:
            yield f"lost    the training of {_numbers(saved.untrained)}: a search trains them again"
        if saved.conflicting:
            yield f"lost    {saved.conflicting:,} rows that contradict others"
        for name in self.damaged:
            yield f"lost    {name} is damaged"
        if saved.needed:
            yield f"lost    of the run's description: {', '.join(saved.needed)}"
        if saved.doubtful:
            yield f"changed of the run's description: {', '.join(saved.doubtful)}: not as written, see what they say"
        if saved.rows.get("trials"):
            yield "unknown rows after the last that was saved leave no trace; trials that were running have none either"


def recover(run: Path, out: Path) -> Recovered:
    """Bring every readable row of a run's record, and the files beside it, into the folder `out`, and read that.

    Raises:
        StoreError: `run` holds no record or is being searched, or `out` is there and not empty.
        StoreDamaged: nothing of the record can be read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"--out {out} is there already: give a folder that is new or empty")
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        saved = salvage(run / FILE_NAME, out / FILE_NAME)
    except BaseException:
        if new:
            out.rmdir()
        raise
    files, damaged = _copy_files(run, out)
    unreadable = None
    try:
        RunView.load(out).estimated()
    except Exception as error:  # whatever is not as it must be is what there is to say
        unreadable = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Recovered(out, saved, files, tuple(damaged), unreadable)


def _copy_files(run: Path, out: Path) -> tuple[int, list[str]]:
    files, damaged = 0, []
    for pattern in _BESIDE:
        for path in sorted(run.glob(pattern)):
            name = path.relative_to(run)
            if path.is_symlink() or not path.is_file():
                continue
            if (why := readable(path)) is not None:
                damaged.append(f"{name} ({why})")
                continue
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copy2(path, out / name)
            files += 1
    return files, damaged


def _numbers(numbers: list[int]) -> str:
    """`3 trials or rows (0, 4, 9, …)`"""
    shown = ", ".join(str(number) for number in numbers[:8])
    return f"{len(numbers):,} ({shown}{', …' if len(numbers) > 8 else ''})"
