"""A JSON file of trainings, where there is no run yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas.settings.changes import differences, may_extend
from nas.settings.errors import ConfigError
from nas.trainings.prepared import Prepared
from reports.noise import floors_of
from trials.record.file import PARENT_NAME
from trials.record.training import Training
from trials.whole_files import write_whole

#: Above what a thousand trainings of a deep network take; a larger file is none of ours.
_MAX_BYTES = 32 * 1024**2
FORMAT: Literal["fusion-nas noise 1"] = "fusion-nas noise 1"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _TrainingPart(_Part):
    choices: dict[str, str]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    epochs: Annotated[int, Field(ge=1)]
    score: Annotated[float, Field(ge=0, le=1)] | None
    loss: float | None
    correct: Annotated[int, Field(ge=0)] | None
    images: Annotated[int, Field(ge=1)] | None
    train_seconds: Annotated[float, Field(ge=0)]
    error: str | None


class _PrecisionPart(_Part):
    precision: Literal["float32", "bfloat16"]
    images_per_second: dict[Literal["float32", "bfloat16"], Annotated[float, Field(gt=0)]]


class _Content(_Part):
    """`noise` and `advice` are for readers: they are computed anew from the trainings."""

    format: Literal["fusion-nas noise 1"]
    config: dict[str, Any]
    data_fingerprint: str
    space_fingerprint: str
    repeats: list[_TrainingPart]
    noise: list[Any]
    advice: dict[str, Any] | None
    parent: dict[str, Any] | None = None
    precision: _PrecisionPart | None = None


class NoiseFile:
    """A JSON file of trainings of one configuration, written whole after each. A context manager."""

    def __init__(self, path: Path, prepared: Prepared) -> None:
        """Raises ConfigError where the file is none of ours, or of another configuration, data or space."""
        self._path = path
        self._prepared = prepared
        self._advice: Mapping[str, Any] | None = None
        self._trainings, self._parent, self._precision = _read(path, prepared) if path.exists() else ([], None, None)

    @property
    def parent_path(self) -> Path:
        return self._path.with_suffix(f".{PARENT_NAME}")

    @property
    def parent(self) -> Mapping[str, Any] | None:
        return self._parent

    @property
    def precision(self) -> Mapping[str, Any] | None:
        return self._precision

    def known(self) -> tuple[Training, ...]:
        return tuple(self._trainings)

    def append_training(self, training: Training) -> None:
        self._trainings.append(training)
        self._write()

    def keep_weights(self, training: Training, weights: bytes) -> None:
        """Not beside a file: no search will ask for them."""

    def put(self, values: Mapping[str, Any]) -> None:
        """Keep the advice, the parent's facts and the choice of precision among `values`."""
        self._advice = values.get("noise_advice", self._advice)
        self._parent = values.get("parent", self._parent)
        self._precision = values.get("precision", self._precision)
        self._write()

    def check(self, prepared: Prepared) -> None:
        """Nothing: it was checked when it was read."""

    def _write(self) -> None:
        space = self._prepared.space
        content = {
            "format": FORMAT,
            "config": self._prepared.config.to_json(),
            "data_fingerprint": self._prepared.data.fingerprint,
            "space_fingerprint": space.fingerprint,
            "repeats": [_to_json(one) for one in self._trainings],
            "noise": [floor.to_json() for floor in floors_of(self._trainings, space.baseline)],
            "advice": None if self._advice is None else dict(self._advice),
            "parent": None if self._parent is None else dict(self._parent),
            "precision": None if self._precision is None else dict(self._precision),
        }
        write_whole(self._path, json.dumps(content, indent=1, allow_nan=False))

    def __enter__(self) -> NoiseFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


def _to_json(training: Training) -> dict[str, Any]:
    names = [name for name in _TrainingPart.model_fields if name != "choices"]
    return {"choices": training.architecture.labels(), **{name: getattr(training, name) for name in names}}


def unlike(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`{key: (recorded, given)}` of the settings that decide what a training comes to, beside its seed and epochs."""
    changed = differences(recorded, given)
    return {
        key: values
        for key, values in changed.items()
        if not may_extend(key)
        and key not in ("training.epochs", "test_fraction")
        and key.partition(".")[0] != "latency"
    }


def _read(path: Path, prepared: Prepared) -> tuple[list[Training], Mapping[str, Any] | None, Mapping[str, Any] | None]:
    mend = "give another --out, or remove the file"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        content = _Content.model_validate(json.loads(path.read_text(encoding="utf-8")))
        changed = list(unlike(content.config, prepared.config.to_json()))
        if content.data_fingerprint != prepared.data.fingerprint:
            changed.append("the data")
        if content.space_fingerprint != prepared.space.fingerprint:
            changed.append("the space")
        if not changed:
            repeats = [_from_part(part, prepared) for part in content.repeats]
            return repeats, content.parent, None if content.precision is None else content.precision.model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"--out: {path} is no file of nas noise ({place}: {problem['msg']}); {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:120]
        raise ConfigError(f"--out: {path} is no file of nas noise ({text}); {mend}") from None
    raise ConfigError(f"--out: {path} is of another configuration ({', '.join(changed)}); {mend}")


def _from_part(part: _TrainingPart, prepared: Prepared) -> Training:
    values = {name: value for name, value in part.model_dump().items() if name != "choices"}
    return Training(prepared.space.architecture(part.choices), **values)
