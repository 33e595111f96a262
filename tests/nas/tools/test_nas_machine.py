"""What a machine, a disk or a budget gets in the way with is said in a line, before or when it does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
from nas.engines.ray_tune import RayEngine
from nas.settings.errors import ConfigError
from nas.settings.loading import load_config
from nas.tools import doctor
from nas.trainings.prepared import prepare
from nas.trainings.slow import slow
from reports.errors import AllFailed, SelectionError
from trials.errors import DeviceError, DiskFull, StoreDamaged
from trials.whole_files import write_whole


def test_what_finds_no_room_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounts a small disk, which takes root")
    program = f"""
import sys
from pathlib import Path
from trials.whole_files import write_whole
from trials.record.store import Store
from trials.errors import DiskFull
folder = Path({str(tmp_path)!r})
write_whole(folder / "a", b"before")
def full(write):
    try:
        write()
    except DiskFull as error:
        print(error)
    else:
        print("written")
full(lambda: write_whole(folder / "a", b"0" * 10**6))
print((folder / "a").read_bytes(), sorted(path.name for path in folder.iterdir()))
write_whole(folder / "filler", b"0" * 180_000)
full(lambda: Store.create(folder / "study.db", {{"config": {{}}}}))
print(sorted(path.name for path in folder.iterdir()))
"""
    mount = f"mount -t tmpfs -o size=200k tmpfs {tmp_path} && {sys.executable} -c '{program.replace(chr(39), chr(34))}'"
    done = subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, text=True, check=False)
    first, kept, second, left = done.stdout.splitlines() or [done.stderr] * 4
    assert first == f"{tmp_path}/a: no room left on the disk: free some, then give the same command again; what was " \
        "recorded is kept"  # fmt: skip
    assert kept == "b'before' ['a']"
    assert re.match(rf"{tmp_path}/study\.db\..+-\d+\.new: no room left on the disk", second)
    assert left == "['.lock', 'a', 'filler']"


def test_other_faults_of_a_disk_are_told_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a", b"")
    assert issubclass(DiskFull, OSError)
    assert DiskFull.exit_code == 1


@pytest.mark.parametrize("keep", [0, 4, 1000])
def test_weights_that_broke_off_are_damage(tiny: dict[str, Any], keep: int) -> None:
    run = nas.search(**tiny | {"trials": 1})
    (file,) = (run.path / "weights").iterdir()
    os.truncate(file, keep)
    with pytest.raises(StoreDamaged, match=r"trial-00000\.safetensors is damaged .*restore it from a copy"):
        run.export("best")
    assert StoreDamaged.exit_code == 5


def test_that_all_trials_failed_is_not_that_none_was_feasible(tiny: dict[str, Any]) -> None:
    training = tiny["training"] | {"peak_lr": 1e30}
    with pytest.raises(
        AllFailed, match=r"all trained trials of .* failed \(2 .*\); trial 0: .*; see nas show"
    ) as caught:
        nas.search(**tiny | {"trials": 2, "training": training})
    assert caught.value.exit_code == 1
    with pytest.raises(AllFailed, match="all trained trials of"):
        nas.open_run(tiny["out"]).select("best")
    with pytest.raises(SelectionError, match="no trial 7"):
        nas.open_run(tiny["out"]).select("7")


def test_what_will_be_slow_or_useless_is_said_before(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(
        None, {"engine": "local", "device": "cpu", "operators": ["add", "se", "iaff"], "train_images": 256}
    )
    assert list(slow(prepare(config))) == []
    tight = config.model_copy(update={"max_flops": "1.002x"})
    assert list(slow(prepare(tight))) == [
        "iaff: over the budget at every point, even alone, so never tried; leave it out of --operators, or raise the "
        "budget"
    ]
    monkeypatch.setattr("nas.trainings.slow.has_bf16", lambda device: False)
    monkeypatch.setattr("nas.trainings.slow._memory_bytes", lambda: 100_000)
    training = config.training.model_copy(update={"precision": "bfloat16"})
    first, second = slow(prepare(config.model_copy(update={"training": training})))
    assert first.startswith("training in bfloat16, but this processor has it in software only")
    assert second.startswith("decoded, the images take ")
    assert "and this machine has 100kB of memory: they are read from the disk again" in second


def test_a_long_temporary_folder_and_a_full_disk_are_found_by_the_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    found = {finding.name: finding for finding in doctor.examine(tmp_path)}
    assert found["ray"].ok
    assert found["ray"].found.endswith("its sockets in /tmp: TMPDIR is too long for their paths")
    assert found["room"].ok
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda place: full)
    room = {finding.name: finding for finding in doctor.examine(tmp_path)}["room"]
    assert not room.ok
    assert "a search wants 1.00GB in each" in room.found


def test_a_device_that_only_the_cluster_has_is_its_own_business() -> None:
    absent = {"device": f"cuda:{torch.cuda.device_count()}", "train_images": 256, "engine": "ray"}
    with pytest.raises(DeviceError, match="is not there"):
        prepare(load_config(None, absent))
    there = prepare(load_config(None, absent | {"ray.address": "10.0.0.1:6379"}))
    assert list(slow(there)) == []
    with pytest.raises(DeviceError, match="give auto, cpu, cuda or cuda:N"):
        prepare(load_config(None, {"device": "tpu", "engine": "ray", "ray.address": "auto"}))


def test_a_ray_client_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"--address ray://127\.0\.0\.1:10001: it should be auto or HOST:PORT: a search's driver runs on the cluster"
    with pytest.raises(ConfigError, match=said):
        RayEngine(None, address="ray://127.0.0.1:10001")  # type: ignore[arg-type]
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(ConfigError, match=said):
        RayEngine(None, address="auto")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"address.*a search's driver runs on the cluster: submit it there"):
        load_config(None, {"ray.address": "ray://127.0.0.1:10001"})


@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [
        (
            ">/dev/full",
            1,
            "nas: the output, or a file of the run, of TMPDIR or of the caches: no room left on the disk",
        ),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_output_that_nobody_takes_is_no_traceback(redirected: str, code: int, said: str) -> None:
    command = f"{sys.executable} -m nas spaces {redirected}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)
