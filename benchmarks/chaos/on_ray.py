"""The driver of a real Ray, killed: its workers are real, what they are asked is answered from the table."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from benchmarks.chaos import answers
from benchmarks.chaos.judging import Findings, Recorded, judged
from benchmarks.chaos.kills import Tally, parted
from benchmarks.chaos.searches import SEARCHES, Ended, run, search
from benchmarks.free import FreePlan
from trials.judge import TrialPlan

WORKERS = 2
SETTINGS: Mapping[str, Any] = {
    **SEARCHES["rungs and finalists"], "engine": "ray", "workers": WORKERS, "trials": 10, "finalists": "none",
}  # fmt: skip
#: In the names of processes of Ray's that no driver has started.
_RAYS_OWN = ("IDLE", "DashboardAgent", "RuntimeEnvAgent")
#: Seconds that a search may take, on a machine that does much else.
HUNG_S = 600.0
#: Seconds that Ray may take to end what a killed driver had started.
GONE_WITHIN_S = 30.0
#: A node that is gone is known sooner than in half a minute.
_SOON = {
    "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_timeout_ms": "5000",
}  # fmt: skip
#: In the environment of whatever is started here, with the number of this process.
_MARK = "FUSION_NAS_CHAOS"


@dataclass(frozen=True)
class Head:
    """A Ray that outlives the drivers that use it, as that of a cluster does."""

    address: str
    token: str

    @classmethod
    @contextmanager
    def started(cls, cpus: int = WORKERS + 1) -> Iterator[Head]:
        """With room for so many workers; it ends with the context, and only it."""
        place = tempfile.mkdtemp(prefix="chaos-", dir="/tmp")
        port = random.SystemRandom().randrange(20_000, 30_000)
        head = cls(f"127.0.0.1:{port}", secrets.token_hex(32))
        more = "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={place}"
        process = head._up(cpus, *more)
        try:
            yield head
        finally:
            process.terminate()
            process.wait(60)

    def node(self, **environment: str) -> subprocess.Popen[bytes]:
        """Another machine with room for one worker, as far as Ray can tell: whoever starts it ends it."""
        return self._up(1, f"--address={self.address}", **environment)

    def _up(self, cpus: int, *more: str, **environment: str) -> subprocess.Popen[bytes]:
        """Started, and up: where Ray gives up, as it does after half a minute of a busy machine, started again."""
        while True:
            with tempfile.NamedTemporaryFile() as told:
                process = self._start(cpus, *more, told=told.file, **environment)
                while process.poll() is None:
                    if b"Ray runtime started" in Path(told.name).read_bytes():
                        return process
                    time.sleep(0.2)

    def _start(
        self, cpus: int, *more: str, told: IO[bytes] | int = subprocess.DEVNULL, **environment: str
    ) -> subprocess.Popen[bytes]:
        found = {
            **os.environ, **_shown(self.token), **_SOON, _MARK: str(os.getpid()), "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.getenv("PYTHONPATH")])]),
            **environment,
        }  # fmt: skip
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--block", f"--num-cpus={cpus}", "--num-gpus=0",
            f"--object-store-memory={128 * 1024**2}", *more,
        ]  # fmt: skip
        return subprocess.Popen(command, env=found, stdout=told, stderr=subprocess.DEVNULL, start_new_session=True)


def _shown(token: str) -> dict[str, str]:
    """What a Ray that is started, or connected to, reads its token from."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def drive(out: Path, head: Head | None, answer: str = "benchmarks.chaos.answers:answer") -> None:
    """The search, by the engine as it is, in this process; with a Ray of its own where none is given. What its workers
    come to is the `answer` of a `module:function`."""
    if head is not None:
        os.environ.update(_shown(head.token))
    os.environ[_MARK] = str(os.getppid())
    import nas.engines.ray_tune as engine

    plain = engine.RayEngine.run

    def with_answers(own: Any, plan: TrialPlan, source: Any) -> None:
        answered = FreePlan.of(plan, answer)
        plain(own, answered, answers.Told(source, answers.JOURNAL))

    engine.RayEngine.run = with_answers  # type: ignore[method-assign,assignment]
    engine.RayEngine.bench = lambda own, space, target, protocol: answers.AnsweringEngine().bench(  # type: ignore[assignment,method-assign]
        space, target, protocol
    )
    search(out, SETTINGS, *(["--address", head.address] if head is not None else []))


def ray_kills(points: int, seed: int, say: Callable[[str], None]) -> dict[str, list[Callable[[], Tally]]]:
    """Drivers killed at random instants: nine in ten on a Ray that stays, the others with a Ray of their own."""
    own = max(1, points // 10) if points else 0
    return {
        "on a cluster": [partial(_on_a_cluster, some, f"{seed} {part}", say) for part, some in parted(points - own, 9)],
        "with its own Ray": [partial(_kill, some, f"{seed} own {part}", None, say) for part, some in parted(own, 1)],
    }


def _on_a_cluster(points: int, seed: str, say: Callable[[str], None]) -> Tally:
    with Head.started() as head:
        return _kill(points, seed, head, say)


def _kill(points: int, seed: str, head: Head | None, say: Callable[[str], None]) -> Tally:
    tally, whole_s, rng = Tally(), 20.0, random.Random(seed)
    while tally.points < points:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "run"
            times = min(rng.randint(1, 5), points - tally.points)
            killed: list[Ended] = []
            there: list[Recorded | None] = []
            for _ in range(times):
                ended = _driven(out, head, rng.uniform(1, whole_s))
                if ended.code != 137:
                    break
                killed.append(ended)
                there.append(Recorded.of(out))
            else:
                ended = _driven(out, head)
                if len(killed) == 0:
                    whole_s = ended.seconds
            found = judged(out, killed, there, ended, None) + left_behind(head)
            tally.add(len(killed), found)
            if not found.clean:
                say(f"Ray: {'; '.join(found.notes)}")
    return tally


def _driven(out: Path, head: Head | None, after_s: float | None = None) -> Ended:
    """Killed after so many seconds; given again where a busy machine has not started Ray in time, which says so. What
    Ray has started takes a while to end, and is looked for afterwards: `left_behind`."""
    while (ended := run(partial(drive, out, head), after_s=after_s, limit_s=HUNG_S)).refused(1, "start here in time"):
        pass
    return replace(ended, left=())


def left_behind(head: Head | None) -> Findings:
    """What a driver had started and is still there: on a cluster its actors, else all of its own Ray."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := _marked(actors=head is not None)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return Findings(zombies=len(left), notes=(f"left after {GONE_WITHIN_S:g} s: {left}",) if left else ())


def _marked(actors: bool) -> dict[int, str]:
    """Processes that were started here or by what was, with what they are: all of them, or busy workers alone, which
    are neither idle nor Ray's own."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{_MARK}={os.getpid()}\0".encode() in (entry / "environ").read_bytes():
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if words and (not actors or (words.startswith("ray::") and not any(own in words for own in _RAYS_OWN))):
                    found[int(entry.name)] = words[:60]
    return found
