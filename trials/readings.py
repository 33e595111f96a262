"""What a network makes of each image that it is judged by, in a few bytes each: right or not, and its losses."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """right: bool [N]. losses: float16 [M], M <= N, cross-entropies of the first images: there, or none (M = 0).

    tempered: float16 [N], the same at the network's own temperature, see `trials.tasks.temperature`, and temperatures
    the two that it was given; None where they were not asked for.
    """

    right: NDArray[np.bool_]
    losses: NDArray[np.float16]
    tempered: NDArray[np.float16] | None = None
    temperatures: tuple[float, ...] = ()

    def to_bytes(self) -> bytes:
        """The inverse of `from_bytes`."""
        content = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {
            "right": np.packbits(self.right),
            "losses": self.losses,
            "images": np.array(len(self.right)),
        }
        if self.tempered is not None:
            arrays |= {"tempered": self.tempered, "temperatures": np.array(self.temperatures)}
        np.savez(content, allow_pickle=False, **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Images:
        """Raises ValueError for anything that `to_bytes` did not make."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as there:
                right = np.unpackbits(there["right"], count=int(there["images"])).astype(bool)
                losses = there["losses"].astype(np.float16)
                if "tempered" not in there:
                    return cls(right, losses)
                temperatures = tuple(there["temperatures"].astype(float).tolist())
                return cls(right, losses, there["tempered"].astype(np.float16), temperatures)
        except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"no readings of images: {error}") from None

    def shortened(self, losses: int) -> Images:
        """With the losses of so many images at most."""
        return Images(self.right, self.losses[:losses])
