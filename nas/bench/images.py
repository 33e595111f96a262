"""What a network makes of each validation image, in a few bytes each: right or not, and its loss."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trials.errors import StoreDamaged
from trials.whole_files import write_whole


@dataclass(frozen=True, eq=False)
class Images:
    """right: bool [N]. losses: float16 [M], M <= N, cross-entropies of the first images: there, or none (M = 0)."""

    right: NDArray[np.bool_]
    losses: NDArray[np.float16]

    def to_bytes(self) -> bytes:
        """The inverse of `from_bytes`."""
        content = io.BytesIO()
        np.savez(content, right=np.packbits(self.right), losses=self.losses, images=np.int64(len(self.right)))
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Images:
        """Raises ValueError for anything that `to_bytes` did not make."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as there:
                right = np.unpackbits(there["right"], count=int(there["images"])).astype(bool)
                return cls(right, there["losses"].astype(np.float16))
        except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"no readings of images: {error}") from None

    def shortened(self, losses: int) -> Images:
        """With the losses of so many images at most."""
        return Images(self.right, self.losses[:losses])


def write_images(path: Path, images: Images) -> None:
    """Whole or not at all. Raises DiskFull."""
    path.parent.mkdir(exist_ok=True)
    write_whole(path, images.to_bytes())


def read_images(path: Path) -> Images:
    """Raises StoreDamaged where the file broke off or was changed."""
    try:
        return Images.from_bytes(path.read_bytes())
    except ValueError as error:
        raise StoreDamaged(f"{path} is damaged ({error}): restore it from a copy, or remove it") from None
