"""The file: a device's measurements, the predictor fitted to them and its error, as checked JSON. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_spaces.architecture import Architecture
from trials.errors import ProfileDamaged, ProfileError
from trials.machine.target import Target
from trials.trial import LatencyProtocol
from trials.whole_files import write_whole

FORMAT: Literal["fusion-nas device profile 1"] = "fusion-nas device profile 1"
#: Far above what 100 measurements take; a larger file is none of ours.
MAX_BYTES = 16 * 1024**2

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]


class Space(Protocol):
    """What a profile is checked against: a `SearchSpace`."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PredictionError(_Part):
    """How far predictions are from measurements they were not fitted to.

    `mape` is the mean absolute error as a share of what was measured, `p90` the 90th percentile of these shares,
    `spearman` the rank correlation.
    """

    architectures: Annotated[int, Field(ge=1)]
    mape: Share
    p90: Share
    spearman: Annotated[float, Field(ge=-1, le=1)]

    def __str__(self) -> str:
        return f"MAPE {self.mape:.1%}, 90% within {self.p90:.1%}, Spearman {self.spearman:.3f}"


class ProfiledArchitecture(_Part):
    """One measured architecture: `relative` to the all-add network beside it, and in milliseconds.

    `part` is its part in the design: uniform, stage, random, or repeat for a second measurement.
    """

    part: Literal["uniform", "stage", "random", "repeat"]
    choices: dict[str, str]
    relative: Positive
    p50_ms: Positive
    p95_ms: Positive
    raw_p50_ms: Positive
    reference_p50_ms: Positive
    drift: Share
    spread: Share
    stable: bool
    passes: Annotated[int, Field(ge=1)]
    attempts: Annotated[int, Field(ge=1)]
    clock_mhz: float | None
    temperature_c: float | None
    foreign_share: float | None


class Predictor(_Part):
    """latency_ms = all-add's + Σ choices_ms[point][choice] + Σ neighbours_ms["operator>next operator"].

    `deviations` says how far each level of effects was let, `residual` what share was left unexplained.
    """

    choices_ms: dict[str, dict[str, float]]
    neighbours_ms: dict[str, float]
    deviations: dict[str, Share]
    residual: Share


class TargetPart(_Part):
    """A `trials.latency.Target` with its batch."""

    device: str
    runtime: str
    dtype: str
    memory_format: str
    threads: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]


class DeviceProfile(_Part):
    """What architectures of one space take on one device. Make one with `trials.profile.make_profile`.

    `error` is that of the predictor on held-out architectures, `flops_only_error` that of an affine function of
    the multiply-adds on the same ones, `repeat_error` what measuring again differs by: no predictor can do better.
    """

    format: Literal["fusion-nas device profile 1"] = FORMAT
    created_at: str
    space: dict[str, Any]
    fingerprint: str
    target: TargetPart
    protocol: dict[str, float]
    device: dict[str, Any]
    versions: dict[str, str]
    baseline_ms: Positive
    predictor: Predictor
    error: PredictionError
    flops_only_error: PredictionError
    repeat_error: PredictionError | None
    measurements: tuple[ProfiledArchitecture, ...]

    @property
    def p90_error(self) -> float:
        """What 90 % of held-out predictions are off by at most, as a share of the measurement."""
        return self.error.p90

    def predict_ms(self, architecture: Architecture) -> float:
        """The p50 in milliseconds that a measurement would give; microseconds' work.

        Raises:
            ProfileError: the architecture is not of the profiled space.
        """
        chosen = architecture.choices
        effects, neighbours = self.predictor.choices_ms, self.predictor.neighbours_ms
        if len(chosen) != len(effects):
            raise self._not_of_space(architecture)
        try:
            own = sum(effects[point][str(choice)] for point, choice in chosen.items())
        except KeyError:
            raise self._not_of_space(architecture) from None
        ops = [chosen[point].op for point in effects]
        return self.baseline_ms + own + sum(neighbours.get(f"{one}>{other}", 0.0) for one, other in pairwise(ops))

    @property
    def target_label(self) -> str:
        """What latencies measured like its own are of, as `FinalMeasurement.target` has it."""
        known = self.target
        target = Target(known.device, known.runtime, known.dtype, known.threads)
        return target.of(str(self.device.get("name")), known.batch_size)

    def latency_protocol(self) -> LatencyProtocol:
        """The protocol that it was measured by."""
        whole = {field.name for field in fields(LatencyProtocol) if field.type == "int"}
        settings: dict[str, Any] = {name: int(v) if name in whole else v for name, v in self.protocol.items()}
        return LatencyProtocol(**settings)

    def check_space(self, space: Space) -> None:
        """Raises ProfileError when the profile was made for another space."""
        if space.fingerprint != self.fingerprint:
            raise ProfileError(
                f"the device profile is of space {self.space.get('name')} ({self._input()}, fingerprint "
                f"{self.fingerprint}), given {space.name} (fingerprint {space.fingerprint}): profile that one with "
                "nas latency profile, under the same operators, ratios, points, size, channels and classes"
            )

    def device_mismatch(self, name: str) -> str | None:
        """One line that says so when the profile is not of the device of that name."""
        own = self.device.get("name")
        return (
            None if own == name else f"the profile is of {own}, this device is {name}: its figures are not this one's"
        )

    @property
    def unreliable(self) -> int:
        """How many architectures were measured on a machine that was not quiet: they count by their own error."""
        return sum(m.part != "repeat" and not m.stable for m in self.measurements)

    def describe(self) -> dict[str, str]:
        """What a report says of it, by name."""
        target, measured = self.target, sum(m.part != "repeat" for m in self.measurements)
        unreliable = self.unreliable
        repeats = "not measured" if self.repeat_error is None else str(self.repeat_error)
        return {
            "space": f"{self.space.get('name')}, {self._input()}, fingerprint {self.fingerprint}",
            "device": str(self.device.get("name")),
            "target": f"{target.device}, {target.runtime}, {target.dtype}, {target.memory_format}, "
            f"batch {target.batch_size}, {target.threads} thread{'s' if target.threads > 1 else ''}",
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            "measured": f"{measured} architectures, {self.created_at}"
            + (f"; {unreliable} of them unreliable (the machine was busy), weighted accordingly" if unreliable else ""),
            "all-add": f"{self.baseline_ms:.3f} ms",
            "held-out error": f"{self.error} ({self.error.architectures} architectures)",
            "FLOPs only": str(self.flops_only_error),
            "measured again": repeats,
        }

    def summary(self) -> dict[str, Any]:
        """As JSON what the profile is and how far it is off, without the measurements and the coefficients."""
        return {key: value for key, value in self.to_json().items() if key not in ("measurements", "predictor")}

    def _input(self) -> str:
        spec = self.space.get("input", {})
        return f"{spec.get('channels')}x{spec.get('size')}x{spec.get('size')}, {spec.get('classes')} classes"

    def _not_of_space(self, architecture: Architecture) -> ProfileError:
        return ProfileError(
            f"architecture {architecture.key} of {architecture.space} is not one of the profiled space "
            f"{self.space.get('name')} ({self._input()})"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, with its checksum."""
        content = self.model_dump(mode="json")
        return {"checksum": _checksum(content), **content}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "device profile") -> DeviceProfile:
        """The inverse of `to_json`. `where` begins the message of an error.

        Raises:
            ProfileError: it is of another format.
            ProfileDamaged: it was changed since it was made.
        """
        if data.get("format") != FORMAT:
            raise ProfileError(
                f"{where}: expected a file of nas latency profile ({FORMAT!r}), given format {data.get('format')!r:.60}"
            )
        content = {key: value for key, value in data.items() if key != "checksum"}
        if data.get("checksum") != _checksum(content):
            raise ProfileDamaged(
                f"{where}: its checksum does not match: it was edited or damaged after it was made; restore it, or "
                "make it again with nas latency profile"
            )
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ProfileDamaged(
                f"{where}: {place}: {problem['msg']}; make it again with nas latency profile"
            ) from None

    @classmethod
    def load(cls, path: Path | str) -> DeviceProfile:
        """Read and check a file.

        Raises:
            ProfileError: no such file, or of another format.
            ProfileDamaged: truncated, edited, or not JSON.
        """
        file = Path(path)
        try:
            if file.stat().st_size > MAX_BYTES:
                raise ProfileError(f"{file}: too large for a device profile; give a file of nas latency profile")
            data = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
        except OSError as error:
            raise ProfileError(
                f"{file}: cannot be read ({error.strerror}); give a file that nas latency profile made"
            ) from None
        except (ValueError, RecursionError):
            raise ProfileDamaged(
                f"{file}: truncated or not JSON; restore it, or make it again with nas latency profile"
            ) from None
        if not isinstance(data, dict):
            raise ProfileError(f"{file}: expected a file of nas latency profile, given a JSON {type(data).__name__}")
        return cls.from_json(data, str(file))

    def save(self, path: Path | str) -> None:
        """Write the file, whole or not at all."""
        write_whole(Path(path), json.dumps(self.to_json(), indent=1) + "\n")


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _refuse(constant: str) -> float:
    raise ValueError(constant)
