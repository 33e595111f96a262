"""Device profiles: made of real measurements, predicting in microseconds, and refusing what is not theirs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Architecture, FusionChoice, InputSpec, SearchSpace
from trials.errors import ProfileDamaged, ProfileError
from trials.latency import LatencyBench, Measurement, Target
from trials.profile import DeviceProfile, make_profile
from trials.profile.device_profile import _checksum
from trials.profile.journal import Journal
from trials.trial import LatencyProtocol

SPACE = SearchSpace.named("resnet8", InputSpec(1, 16, 10))
QUICK = LatencyProtocol(warmup=1, passes=30, attempts=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of 16 architectures, really measured."""
    folder = tmp_path_factory.mktemp("profile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_NAS_LOCKS", str(folder))
        make_profile(SPACE, Target(), QUICK, folder / "cpu.json", architectures=24)
    assert [path.name for path in folder.glob("cpu.json*")] == ["cpu.json"]
    return folder / "cpu.json"


@pytest.fixture
def profile(file: Path) -> DeviceProfile:
    return DeviceProfile.load(file)


def test_a_profile_predicts_what_is_measured_later(profile: DeviceProfile) -> None:
    """The costliest architecture against a cheap one: coarse, so that it holds on a busy machine."""
    bench = LatencyBench(SPACE, Target(), QUICK)
    heavy, light = SPACE.uniform("iaff"), SPACE.uniform("concat")
    assert min(bench.measure(heavy).relative for _ in range(3)) > 1.5
    assert profile.predict_ms(heavy) > 1.5 * profile.baseline_ms
    assert profile.predict_ms(heavy) > profile.predict_ms(light)


def test_all_add_is_predicted_as_measured(profile: DeviceProfile) -> None:
    assert profile.predict_ms(SPACE.baseline) == profile.baseline_ms


def test_a_profile_knows_its_error(profile: DeviceProfile) -> None:
    mixtures = [m for m in profile.measurements if m.part == "random"]
    assert profile.error.architectures == profile.flops_only_error.architectures == len(mixtures) >= 12
    assert 0 < profile.error.mape <= profile.error.p90
    assert profile.repeat_error is None or profile.repeat_error.architectures == sum(
        m.part == "repeat" for m in profile.measurements
    )
    described = profile.describe()
    assert f"MAPE {profile.error.mape:.1%}" in described["held-out error"]
    assert f"MAPE {profile.flops_only_error.mape:.1%}" in described["FLOPs only"]


def test_a_prediction_takes_less_than_100_microseconds(profile: DeviceProfile) -> None:
    rng = random.Random(0)
    architectures = [SPACE.sample(rng) for _ in range(200)]
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for architecture in architectures:
            profile.predict_ms(architecture)
        best = min(best, (time.perf_counter() - began) / len(architectures))
    assert best < 100e-6


def test_a_profile_goes_round_as_json(profile: DeviceProfile, tmp_path: Path) -> None:
    again = DeviceProfile.from_json(json.loads(json.dumps(profile.to_json())))
    assert again == profile
    again.save(tmp_path / "copy.json")
    assert DeviceProfile.load(tmp_path / "copy.json") == profile
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.json"]


def test_a_profile_of_another_space_is_refused(profile: DeviceProfile) -> None:
    profile.check_space(SPACE)
    for other in (
        replace(SPACE, input=InputSpec(1, 32, 10)),
        replace(SPACE, reductions=(4, 8)),
        SearchSpace.named("resnet14", SPACE.input),
    ):
        with pytest.raises(ProfileError, match=f"given {other.name} .fingerprint {other.fingerprint}") as error:
            profile.check_space(other)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "choices",
    [
        {"layer1.0": "add"},
        {"layer1.0": "add", "layer2.0": "add", "layer9.0": "add"},
        {"layer1.0": "add", "layer2.0": "add", "layer3.0": "sk/4"},
    ],
)
def test_an_architecture_of_another_space_has_no_prediction(profile: DeviceProfile, choices: dict[str, str]) -> None:
    foreign = Architecture("resnet8", {point: FusionChoice.parse(label) for point, label in choices.items()})
    with pytest.raises(ProfileError, match="is not one of the profiled space resnet8"):
        profile.predict_ms(foreign)


def test_another_device_is_said(profile: DeviceProfile) -> None:
    name = str(profile.device["name"])
    assert profile.device_mismatch(name) is None
    assert f"the profile is of {name}, this device is a Jetson" in str(profile.device_mismatch("a Jetson"))


def edited(change: Callable[[dict[str, Any]], None], with_checksum: bool) -> Callable[[str], str]:
    def edit(text: str) -> str:
        data = json.loads(text)
        change(data)
        if with_checksum:
            data["checksum"] = _checksum({key: value for key, value in data.items() if key != "checksum"})
        return json.dumps(data)

    return edit


def faster(data: dict[str, Any]) -> None:
    data["baseline_ms"] *= 0.5


def negative(data: dict[str, Any]) -> None:
    data["baseline_ms"] = -1.0


def not_a_number(data: dict[str, Any]) -> None:
    data["predictor"]["choices_ms"]["layer1.0"]["se/4"] = float("nan")


def as_text(data: dict[str, Any]) -> None:
    data["predictor"]["choices_ms"]["layer1.0"]["se/4"] = "0.1"


def another_format(data: dict[str, Any]) -> None:
    data["format"] = "fusion-nas device profile 2"


@pytest.mark.parametrize(
    ("edit", "kind", "message"),
    [
        (edited(faster, with_checksum=False), ProfileDamaged, "checksum does not match"),
        (edited(negative, with_checksum=True), ProfileDamaged, "baseline_ms: Input should be greater than 0"),
        (edited(not_a_number, with_checksum=True), ProfileDamaged, "truncated or not JSON"),
        (edited(as_text, with_checksum=True), ProfileDamaged, "choices_ms.layer1.0.se/4"),
        (edited(another_format, with_checksum=True), ProfileError, "given format 'fusion-nas device profile 2'"),
        (lambda text: text[: len(text) // 2], ProfileDamaged, "truncated or not JSON"),
        (lambda text: "", ProfileDamaged, "truncated or not JSON"),
        (lambda text: "[1]", ProfileError, "given a JSON list"),
        (lambda text: "[" * 200_000, ProfileDamaged, "truncated or not JSON"),
    ],
)
def test_a_file_that_is_not_as_it_was_made(
    file: Path, tmp_path: Path, edit: Callable[[str], str], kind: type[ProfileError], message: str
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(edit(file.read_text()))
    with pytest.raises(kind, match=message) as error:
        DeviceProfile.load(broken)
    assert str(broken) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ProfileError, match="cannot be read"):
            DeviceProfile.load(path)


@pytest.mark.parametrize("count", [9, 101])
def test_too_few_and_too_many_architectures_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ProfileError, match=f"--sample: given {count}; a profile measures 10 to 100"):
        make_profile(SPACE, Target(), QUICK, tmp_path / "p.json", count)
    assert list(tmp_path.glob("p.json*")) == []


class StopError(Exception):
    """The user's Ctrl-C."""


def test_an_interrupted_profile_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Architecture] = []
    measure = LatencyBench.measure

    def counted(bench: LatencyBench, architecture: Architecture) -> Measurement:
        measured.append(architecture)
        return measure(bench, architecture)

    def stop(done: int, total: int, measurement: Measurement) -> None:
        if done == 6:
            raise StopError

    monkeypatch.setattr(LatencyBench, "measure", counted)
    path, journal = tmp_path / "p.json", tmp_path / "p.json.measuring"
    with pytest.raises(StopError):
        make_profile(SPACE, Target(), QUICK, path, 12, observer=stop)
    assert not path.exists()
    text = journal.read_text()
    journal.write_text(text[:-40])  # killed in the middle of the sixth line
    profile = make_profile(SPACE, Target(), QUICK, path, 12)
    assert len(measured) == 6 + len(profile.measurements) - 5
    assert not journal.exists()


def test_a_journal_of_other_settings_is_not_gone_on_with(tmp_path: Path) -> None:
    measurement = LatencyBench(SPACE, Target(), QUICK).measure(SPACE.baseline)
    Journal(tmp_path / "p.json", {"seed": 0}).append("first", measurement)
    assert Journal(tmp_path / "p.json", {"seed": 0}).found == {"first": measurement}
    assert Journal(tmp_path / "p.json", {"seed": 1}).found == {}


def test_a_device_needs_torch_only(tmp_path: Path) -> None:
    """The whole command in a process that cannot import what a Jetson lacks."""
    program = f"""
import sys
for name in ("ray", "optuna", "fvcore", "sqlalchemy", "torchvision", "moocore", "onnx", "onnxruntime"):
    sys.modules[name] = None
from nas.cli.main import main
sys.argv = ["nas", "latency", "profile", "--space", "resnet8", "--size", "16", "--passes", "30", "--attempts", "1",
            "--device", "cpu", "--sample", "10", "--out", {str(tmp_path / "p.json")!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "held-out error" in done.stdout
    assert DeviceProfile.load(tmp_path / "p.json").space["name"] == "resnet8"


def test_a_profile_made_by_the_counter_of_before_predicts_as_it_did() -> None:
    """Its effects are told choice by choice: what they were fitted by is no part of the file."""
    profile = DeviceProfile.load(Path(__file__).with_name("profile_of_before.json"))
    space = SearchSpace.named("resnet8", InputSpec(1, 28, 10), ["add", "se", "aff"], [4])
    profile.check_space(space)
    then = {
        ("se/4", "se/4", "add"): 0.6098545656719365,
        ("add", "aff/4", "add"): 0.6286229642551255,
        ("add", "add", "add"): 0.5230677499999999,
    }
    for choices, milliseconds in then.items():
        labels = dict(zip((point.name for point in space.points), choices, strict=True))
        assert profile.predict_ms(space.architecture(labels)) == pytest.approx(milliseconds, rel=1e-12)


def test_a_profile_is_read_without_torch(file: Path) -> None:
    program = (
        "import sys\nfor name in ('torch', 'fvcore', 'sqlalchemy'): sys.modules[name] = None\n"
        "from trials.profile import DeviceProfile\n"
        f"print(DeviceProfile.load({str(file)!r}).baseline_ms)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) == DeviceProfile.load(file).baseline_ms
