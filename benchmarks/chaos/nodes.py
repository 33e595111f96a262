"""Nodes of a Ray that go, and one on which every worker dies, under a search that goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks.chaos import answers
from benchmarks.chaos.faults import Answers, said
from benchmarks.chaos.judging import Recorded, judged
from benchmarks.chaos.on_ray import HUNG_S, Head, drive, left_behind
from benchmarks.chaos.searches import run
from trials.judge import TrialOutcome
from trials.trial import TrialJob

#: In the environment of a node that loses whatever is trained there.
_LOSES = "FUSION_NAS_CHAOS_LOSES"
#: Seconds that an answer takes, so that there is a middle of it.
ANSWER_S = 1.0


def answer(job: TrialJob) -> TrialOutcome:
    """What a training comes to, after a while; on a node that loses everything its worker dies of it."""
    time.sleep(ANSWER_S)
    if os.environ.get(_LOSES):
        os.kill(os.getpid(), signal.SIGKILL)
    return answers.answer(job)


def lost_nodes(samples: int, seed: int) -> Answers:
    """One of two nodes goes with all that runs on it, at a random instant, and another one comes."""
    found = Answers("every trial is trained once, elsewhere where its node is gone; exit code 0")
    rng = random.Random(seed)
    for _ in range(min(3, samples)):
        with Head.started(cpus=0) as head, _ended() as nodes:
            nodes += [head.node(), head.node()]
            after_s = rng.uniform(8, 25)
            _search(found, head, f"a node gone after {after_s:.0f} s", partial(_replace, head, nodes, after_s))
    return found


def losing_node(samples: int) -> Answers:
    """Every worker of one of two nodes dies of what it is given."""
    found = Answers("every trial is trained once, on the other node; the node is named; exit code 0")
    for _ in range(min(2, samples)):
        with Head.started(cpus=0) as head, _ended() as nodes:
            nodes += [head.node(**{_LOSES: "1"}), head.node()]
            _search(found, head, "a node that loses everything", names="keeps losing workers and is avoided")
    return found


def _search(found: Answers, head: Head, what: str, beside: Callable[[], None] = lambda: None, names: str = "") -> None:
    """One search on the nodes that there are, with what happens to them `beside` it, judged and counted."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        happening = threading.Thread(target=beside)
        happening.start()
        ended = run(partial(drive, out, head, "benchmarks.chaos.nodes:answer"), limit_s=HUNG_S)
        happening.join()
        findings = judged(out, [], [], ended, None) + left_behind(head)
        recorded = Recorded.of(out)
        states = Counter(() if recorded is None else (state for *_, state in recorded.proposed))
        right = findings.clean and states.keys() <= {"complete", "gated"} and names in ended.printed
        found.add(right, f"{what}: {'; '.join(findings.notes) or said(ended)}; {dict(states)}")


def _replace(head: Head, nodes: list[subprocess.Popen[bytes]], after_s: float) -> None:
    time.sleep(after_s)
    _end(nodes[0])
    nodes.append(head.node())


@contextmanager
def _ended() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Nodes that are put there end with the context."""
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        yield nodes
    finally:
        for node in nodes:
            if node.poll() is None:
                _end(node)


def _end(node: subprocess.Popen[bytes]) -> None:
    """All of its processes at once, as of a machine that is gone."""
    for process in (node.pid, *descendants(node.pid)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    node.wait()


def descendants(root: int) -> list[int]:
    """The processes that a process started, and those that these did, the deepest last."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], [root]
    while ahead:
        inner = children.get(ahead.pop(), [])
        found += inner
        ahead += inner
    return found
