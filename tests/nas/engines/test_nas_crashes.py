"""What ends the process that trains is known to the next one, and told from a kill from outside."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import nas_program

from nas.engines.crashes import TRACE_NAME, Crashes
from reports import RunView
from search_spaces.architecture import Architecture, FusionChoice
from trials.trial import Failure, TrialJob, TrialState

JOB = TrialJob(4, "sampler", Architecture("resnet8", {"layer1.0": FusionChoice("add")}), 0, 1, 10, 10)
TRAINING = """
import ctypes, os, signal, sys
from pathlib import Path
from nas.engines.crashes import Crashes
from search_spaces.architecture import Architecture, FusionChoice
from trials.trial import TrialJob

job = TrialJob(4, "sampler", Architecture("resnet8", {"layer1.0": FusionChoice("add")}), 0, 1, 10, 10)
with Crashes(folder=Path(sys.argv[1])).watching(job):
    {"SIGSEGV": lambda: ctypes.string_at(0), "SIGABRT": os.abort, "raised": lambda: 1 / 0,
     "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL), "none": lambda: 0}[sys.argv[2]]()
"""
OPERATOR = """
import ctypes

from torch import nn
from search_spaces import register
from search_spaces.networks import ResNetDesign

SPACE = ResNetDesign("resnet8", "basic", (1, 1, 1), (16, 32, 64), "cifar")


@register("segfaulting")
class Segfaulting(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x, y):
        if self.training and len(x) == 64:
            ctypes.string_at(0)
        return x + y
"""


def trained(folder: Path, end: str) -> int:
    return subprocess.run([sys.executable, "-c", TRAINING, folder, end], capture_output=True).returncode


@pytest.mark.parametrize(("end", "words"), [("SIGSEGV", "Segmentation fault"), ("SIGABRT", "Aborted")])
def test_what_ends_its_own_process_is_known_to_the_next(tmp_path: Path, end: str, words: str) -> None:
    kept: list[object] = []
    assert trained(tmp_path, end) == -getattr(signal, end)
    crashes = Crashes(keep=kept.append, folder=tmp_path)
    text = crashes.take_over()
    assert text is not None
    assert re.fullmatch(rf'{words} in process \d+ of [\d -]+:\d\d:\d\d, File ".*", line \d+ in \S+', text)
    assert crashes.of(JOB) == (text,)
    assert list(kept[-1].values()) == [[text]]  # type: ignore[attr-defined]
    assert not (tmp_path / TRACE_NAME).exists()
    assert crashes.take_over() is None
    assert trained(tmp_path, end) == -getattr(signal, end)
    crashes.take_over()
    assert len(crashes.of(JOB)) == 2


@pytest.mark.parametrize("end", ["SIGKILL", "raised", "none"])
def test_a_kill_from_outside_and_an_end_in_peace_are_no_crash(tmp_path: Path, end: str) -> None:
    trained(tmp_path, end)
    assert (tmp_path / TRACE_NAME).exists() is (end == "SIGKILL")
    crashes = Crashes(folder=tmp_path)
    assert crashes.take_over() is None
    assert crashes.of(JOB) == ()
    assert not any(tmp_path.iterdir())


def test_a_crash_is_counted_once_however_often_its_reader_is_killed(tmp_path: Path) -> None:
    trained(tmp_path, "SIGSEGV")
    trace = (tmp_path / TRACE_NAME).read_bytes()
    crashes = Crashes(folder=tmp_path)
    crashes.take_over()
    (tmp_path / TRACE_NAME).write_bytes(trace)  # it was killed before it removed it
    crashes.take_over()
    assert len(crashes.of(JOB)) == 1
    # A container that is started again has the same number of a process, and dies at the same line.
    later = re.sub(rb"of \d{4}", b"of 2999", trace, count=1)
    (tmp_path / TRACE_NAME).write_bytes(later)
    crashes.take_over()
    assert len(crashes.of(JOB)) == 2


def test_the_fault_handler_is_as_before_and_a_full_disk_keeps_nobody_from_training(tmp_path: Path) -> None:
    before = faulthandler.is_enabled()
    with Crashes(folder=tmp_path).watching(JOB):
        assert faulthandler.is_enabled()
    assert faulthandler.is_enabled() == before
    with Crashes(folder=tmp_path / "nowhere").watching(JOB), Crashes().watching(JOB):
        assert faulthandler.is_enabled() == before


@pytest.mark.slow
@pytest.mark.long
def test_an_operator_that_ends_the_driver_twice_is_not_tried_a_third_time(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OPERATOR)
    (tmp_path / "search.toml").write_text(
        'operators = ["add", "segfaulting"]\ntrials = 2\ntrain_images = 128\n'
        'val_fraction = 0.02\nexport = "none"\nfinalists = "none"\nnoise_seeds = 1\nengine = "local"\n'
        '[training]\nepochs = 1\nbatch_size = 64\nregime = "scratch"\nprecision = "float32"\n'
        "[latency]\npasses = 30\nwarmup = 1\nattempts = 1\n"
    )
    command = [sys.executable, "-m", "nas", "search", tmp_path / "search.toml", "--space", f"{tmp_path}/net.py:SPACE"]
    command += ["--out", tmp_path / "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = [subprocess.run(command, capture_output=True, text=True, env=environment) for _ in range(3)]
    assert [one.returncode for one in ended] == [-signal.SIGSEGV, -signal.SIGSEGV, 0], ended[-1].stderr
    for one in ended[1:]:
        assert "the last session ended in the midst of a training: Segmentation fault in process" in one.stderr
    view = RunView.load(tmp_path / "run")
    assert [result.state for result in view.results] == [TrialState.COMPLETE, TrialState.FAILED]
    failed = view.results[1]
    assert failed.failure is Failure.CRASHED
    assert re.search(r"it ended 2 processes: Segmentation fault .* in string_at", failed.error or "")
    assert not (tmp_path / "run" / TRACE_NAME).exists()
    assert nas_program("doctor", tmp_path / "run").returncode == 0
