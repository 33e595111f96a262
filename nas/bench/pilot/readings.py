"""What a pilot keeps of its trainings: a file of JSON lines, the first of which says of what; free of torch.

Beside the ordinary record, which knows what need not be trained again, each line has what a study of noise needs: loss,
accuracy, the loss at the network's own temperature, which validation images are right (packed bits), how far each
fusion has moved and how much its gates vary. One file holds all ways of starting, and goes where it is read elsewhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.bench.errors import BenchError
from trials.whole_files import write_whole

Regime = Literal["scratch", "inherit", "supernet"]
REGIMES: tuple[Regime, ...] = ("scratch", "inherit", "supernet")
FILE_NAME = "readings.jsonl"
#: The seed of no training that is compared: the first records hold the parent as a line under it.
PARENT_SEED = 0


@dataclass(frozen=True, order=True)
class Way:
    """A way of starting: so many complete epochs at a highest rate `peak_lr`, the fusions' in multiples of it."""

    regime: Regime
    epochs: int
    peak_lr: float
    fusion_lr_scale: float

    @property
    def name(self) -> str:
        """`inherit-3 0.05 ×10`; new networks have one rate for all."""
        rates = "" if self.regime == "scratch" else f" {self.peak_lr:g} ×{self.fusion_lr_scale:g}"
        return f"{self.regime}-{self.epochs}{rates}"

    @property
    def folder(self) -> str:
        """Of the record that has all its epochs: `inherit-0.05-x10`."""
        return f"{self.regime}-{self.peak_lr:g}-x{self.fusion_lr_scale:g}"

    def to_json(self) -> dict[str, Any]:
        """As a line of the file has it."""
        return {
            "start": self.regime, "epochs": self.epochs, "peak_lr": self.peak_lr,
            "fusion_lr_scale": self.fusion_lr_scale,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """One training, read. `accuracy` (0..1), `loss`, and `tempered_loss` at the best `temperature`, of the validation
    images, of which `right` [N] are; `images` were trained on.

    moved: of each fusion with weights the norm of its new ones, and of their change. gates: mean and standard deviation
    over validation images of each part's attention weights, by point and part.
    """

    way: Way
    architecture: str
    choices: Mapping[str, str]
    seed: int
    accuracy: float
    loss: float
    temperature: float
    tempered_loss: float
    right: NDArray[np.bool_]
    images: int
    train_seconds: float
    moved: Mapping[str, tuple[float, float]]
    gates: Mapping[str, Mapping[str, tuple[float, float]]]

    @property
    def identity(self) -> tuple[Way, str, int]:
        return self.way, self.architecture, self.seed

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        bits = base64.b64encode(np.packbits(self.right).tobytes()).decode()
        plain = {name: value for name, value in vars(self).items() if name not in ("way", "right")}
        return {**self.way.to_json(), **plain, "right": bits}

    @classmethod
    def from_json(cls, line: Mapping[str, Any], validation_images: int) -> Reading:
        """Raises KeyError, TypeError or ValueError where the line is none."""
        if line["start"] not in REGIMES:
            raise ValueError(f"start {line['start']!r}")
        bits = np.frombuffer(base64.b64decode(line["right"]), np.uint8)
        right = np.unpackbits(bits, count=validation_images).astype(bool)
        return cls(
            Way(line["start"], int(line["epochs"]), float(line["peak_lr"]), float(line["fusion_lr_scale"])),
            str(line["architecture"]), dict(line["choices"]), int(line["seed"]), float(line["accuracy"]),
            float(line["loss"]), float(line["temperature"]), float(line["tempered_loss"]), right, int(line["images"]),
            float(line["train_seconds"]), {point: (norm, change) for point, (norm, change) in line["moved"].items()},
            {point: {part: (mean, std) for part, (mean, std) in parts.items()}
             for point, parts in line.get("gates", {}).items()},
        )  # fmt: skip


@dataclass(frozen=True)
class Readings:
    """A file's header, and its trainings: each once, as it was read last."""

    header: Mapping[str, Any]
    readings: tuple[Reading, ...]


def read_readings(path: Path) -> Readings:
    """Of a file, or of a pilot's folder. A line that broke off at the end is none.

    Raises:
        BenchError: there is none, or it is no file of a pilot.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{file}: {error.strerror}; give a pilot's --out, or its {FILE_NAME}") from None
    except UnicodeDecodeError:
        raise BenchError(f"{file} is no file of a pilot: give a {FILE_NAME}") from None
    lines, number = text.split("\n")[:-1], 1
    try:
        header = json.loads(lines[0])
        images = int(header["val"])
        found: dict[tuple[Way, str, int], Reading] = {}
        for line in lines[1:]:
            number += 1
            reading = Reading.from_json(json.loads(line), images)
            if reading.seed != PARENT_SEED:
                found[reading.identity] = reading
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BenchError(
            f"{file}, line {number}: not of a pilot ({type(error).__name__}: {error}); give a {FILE_NAME}"
        ) from None
    return Readings(header, tuple(found.values()))


class ReadingsFile:
    """A pilot's file, open for more lines."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Made where there is none. Raises BenchError where it is of another space or other data than `header`."""
        self.path = path
        self._known: set[tuple[Way, str, int]] = set()
        if not path.exists():
            write_whole(path, json.dumps(header) + "\n")
            return
        there = read_readings(path)
        for key in ("space", "data"):
            if there.header.get(key) != header[key]:
                raise BenchError(
                    f"{path} is of another {key} (fingerprint {header[key]}, there {there.header.get(key)}): "
                    "give another --out"
                )
        self._known = {reading.identity for reading in there.readings}
        whole = path.read_text(encoding="utf-8")
        if not whole.endswith("\n"):  # broken off in the middle of a line
            write_whole(path, whole[: whole.rfind("\n") + 1])

    def __contains__(self, identity: tuple[Way, str, int]) -> bool:
        return identity in self._known

    def append(self, reading: Reading) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(reading.to_json(), allow_nan=False) + "\n")
        self._known.add(reading.identity)
