"""What is searched, and how: the command itself, in forks of a process that has imported and prepared everything."""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import torch

import nas.session.session
from benchmarks.chaos import answers
from benchmarks.chaos.answers import Journal, world
from benchmarks.chaos.deaths import Events
from nas.cli.main import main as command_line
from nas.registry import ENGINES, LOOKS
from nas.settings.search import SearchConfig
from nas.trainings.prepared import Prepared, prepare

#: Seconds after which a search that should have ended has hung.
HUNG_S = 120.0
#: Origins of what trials start from: no trainings of the record, but files beside it, made again where they are not.
STARTS = ("parent", "supernet")
_TINY: Mapping[str, Any] = {
    "space": "resnet8", "data": "fashion-mnist-mini", "train_images": 256, "val_fraction": 0.05, "export": "none",
    "engine": "local", "device": "cpu", "trials": 8, "noise_seeds": 2, "finalists": "none",
    "training": {"epochs": 1, "batch_size": 64, "precision": "float32", "regime": "scratch"},
    "latency": {"passes": 30, "warmup": 3, "attempts": 1},
}  # fmt: skip
#: Searches that are killed: by their stages they write all that a search writes.
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "rungs and finalists": {
        **_TINY, "sampler": "ehvi", "rungs": [1, 3], "finalists": 1, "finalist_seeds": 2, "max_flops": "1.05x",
    },
    "a gate": {**_TINY, "sampler": "tpe", "trials": 10, "max_flops": "1.01x"},
}  # fmt: skip
#: One whose trainings are real, and start from a parent that it trains.
TRAINED: Mapping[str, Any] = {
    **_TINY, "trials": 4, "sampler": "evolution",
    "training": {**_TINY["training"], "regime": "inherit", "parent_epochs": 1},
}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A process that is gone: `code` as a shell has it (137: killed), what it printed, the lines of its journal, and
    the events that it counted where it came to its own end; `hung`: it had to be ended."""

    code: int
    printed: str
    said: tuple[Mapping[str, Any], ...]
    seconds: float
    hung: bool = False
    events: tuple[str, ...] = ()
    left: tuple[int, ...] = field(default=())

    def jobs(self, what: str) -> list[tuple[str, int, int, bool]]:
        """The identities of the trainings that were `begun`, or `safe`, in their order; not of what they start from."""
        return [
            (one["key"], one["seed"], one["epochs"], one["final"])
            for one in self.said
            if one["what"] == what and one["origin"] not in STARTS
        ]

    def refused(self, code: int, words: str) -> bool:
        """Whether it ended with this exit code and one line of which `words` are a part, and with nothing else."""
        lines = self.printed.strip().splitlines()
        last = lines[-1] if lines else ""
        return self.code == code and last.startswith("nas: ") and words in last and "Traceback" not in self.printed


@cache
def warm() -> None:
    """Whatever a search imports, and what is the same for all of them, once: before the first fork."""
    torch.set_num_threads(1)
    world()
    os.environ["FUSION_NAS_LOCKS"] = tempfile.mkdtemp(prefix="chaos-locks-")
    setattr(nas.session.session, "prepare", _prepared)  # noqa: B010 # the same for all forks: no image is read again
    for settings in (TRAINED, *SEARCHES.values()):
        quiet = redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, suppress(SystemExit), quiet[0], quiet[1]:
            search(Path(folder) / "run", settings)
    gc.freeze()


_PREPARED: dict[str, Prepared] = {}


def _prepared(config: SearchConfig, announce: Callable[[str], None] = lambda line: None) -> Prepared:
    """As `prepare`, with what does not depend on where a run is."""
    given = {**config.to_json(), "out": None, "trials": None}
    key = json.dumps(given, sort_keys=True, default=str)
    if key not in _PREPARED:
        _PREPARED[key] = prepare(config, announce)
    return replace(_PREPARED[key], config=config)


def search(out: Path, settings: Mapping[str, Any], *more: str) -> None:
    """`nas search`, to its end or its death. Raises SystemExit as the command does."""
    file = Path(os.environ["FUSION_NAS_LOCKS"]) / "search.toml"  # not beside the run, whose disk may be full
    file.write_text(_toml(settings))
    trained = settings["training"]["regime"] != "scratch"
    if not trained:
        LOOKS.clear()  # at networks, which answers have not
    ENGINES["local"] = f"benchmarks.chaos.answers:{'TrainingEngine' if trained else 'AnsweringEngine'}"
    sys.argv = ["nas", "search", str(file), "--out", str(out), *more]
    command_line()


def _toml(settings: Mapping[str, Any]) -> str:
    flat = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for key, value in settings.items():
        if isinstance(value, dict):
            flat += [f"[{key}]", *(f"{name} = {json.dumps(one)}" for name, one in value.items())]
    return "\n".join(flat) + "\n"


def run(
    work: Callable[[], None],
    events: Events | None = None,
    after_s: float | None = None,
    limit_s: float = HUNG_S,
    before: Callable[[], None] = lambda: None,
) -> Ended:
    """Work in a fork of this process, with its journal; killed `after_s` seconds where it has not ended by then.

    `before` is called in the fork, first; `events` are watched from then on.
    """
    warm()
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    printed = tempfile.TemporaryFile()  # noqa: SIM115  # until the fork has ended
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reading)
        _child(work, events, before, writing, printed.fileno())
    os.close(writing)
    said, hung = _said(reading, child, after_s, limit_s)
    _, status = os.waitpid(child, 0)
    printed.seek(0)
    text = printed.read().decode(errors="replace")
    printed.close()
    lines = [json.loads(line) for line in said.decode().split("\n") if line.endswith("}")]
    counted = next((one["events"] for one in lines if one["what"] == "events"), ())
    code = os.waitstatus_to_exitcode(status)
    return Ended(
        128 - code if code < 0 else code, text, tuple(one for one in lines if one["what"] != "events"),
        time.monotonic() - began, hung, tuple(counted), left_of(child),
    )  # fmt: skip


def _said(reading: int, child: int, after_s: float | None, limit_s: float) -> tuple[bytes, bool]:
    """What came through the pipe until it was closed; whether the child had hung. It is killed in time."""
    limit = limit_s if after_s is None else min(after_s, limit_s)
    deadline, said, killed = time.monotonic() + limit, b"", False
    while True:
        left = deadline - time.monotonic()
        if not killed and (left <= 0 or not select.select([reading], [], [], left)[0]):
            os.kill(child, signal.SIGKILL)
            killed = True
        got = os.read(reading, 1 << 16)
        if not got:
            break
        said += got
    os.close(reading)
    return said, killed and after_s is None


def _child(
    work: Callable[[], None], events: Events | None, before: Callable[[], None], writing: int, printed: int
) -> NoReturn:
    code = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(printed, stream)
        answers.JOURNAL = Journal(writing)
        before()
        if events is not None:
            events.watch()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if events is not None:
            os.write(writing, (json.dumps({"what": "events", "events": events.kinds}) + "\n").encode())
        os._exit(code)


def left_of(session: int) -> tuple[int, ...]:
    """The processes of a session of processes that are still there."""
    there = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            there.append(int(entry.name))
    return tuple(there)
