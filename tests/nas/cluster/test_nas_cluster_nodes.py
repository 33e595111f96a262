"""Searches on clusters of several `ray start` processes: nodes go, come and are cut off, drivers are killed.

Of each: nothing that was recorded is lost or trained again, and the search comes to its end. Slow ones run in CI where
they are short; the others are `long`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from network_namespaces import network
from programs import wait_for
from ray_nodes import RAY, Cluster, descendants, ray_cluster

from reports import RunView
from trials.trial import TrialState

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

#: Modules of `ray[default]`, without which a head takes no submission.
DASHBOARD = ("aiohttp", "aiohttp_cors", "grpc", "opencensus", "prometheus_client", "opentelemetry")


def arguments(folder: Path, address: str, trials: int = 6, images: int = 3000) -> list[object]:
    return [
        "search", "--space", "resnet8", "--train-images", images, "--epochs", 1, "--trials", trials, "--regime",
        "scratch", "--set", "training.precision=float32", "--set", "latency.passes=30", "--set", "latency.attempts=1",
        "--finalists", "none", "--export", "none", "--address", address, "--out", folder,
    ]  # fmt: skip


def ends_well(program: subprocess.Popen[str], folder: Path, before: RunView, trials: int = 6) -> RunView:
    """The run when the program has ended: what was recorded stands as it was, nothing is there twice or lacking."""
    _, narration = program.communicate(timeout=600)
    assert program.returncode == 0, narration
    assert "Traceback" not in narration
    return is_whole(folder, before, trials)


def is_whole(folder: Path, before: RunView, trials: int) -> RunView:
    after = RunView.load(folder)
    recorded = {r.number: r for r in after.results}
    for result in before.results:
        if result.state is TrialState.COMPLETE:
            assert recorded[result.number] == result
    assert after.failures == {}  # a lost node is nobody's fault: its trials were trained elsewhere
    assert after.count(TrialState.COMPLETE) == trials
    trained = Counter(t.result.architecture.key for t in after.complete)
    assert set(trained.values()) == {1}
    assert len({r.number for r in after.results}) == len(after.results)
    assert after.sessions[-1].outcome == "complete"
    print(figures(before, after))  # pytest -rP shows it: benchmarks/results/multi-node.txt
    return after


def figures(before: RunView, after: RunView) -> str:
    by_host = Counter(str(t.result.environment["host"]) for t in after.complete)
    again = sum(t.result.attempts - 1 for t in after.complete)
    seconds = sum((s.ended_at or s.started_at) - s.started_at for s in after.sessions)
    return (
        f"{before.count(TrialState.COMPLETE)} of {len(after.complete)} trials recorded when it was done, 0 lost, "
        f"0 twice; {again} begun again; {', '.join(f'{host} {count}' for host, count in sorted(by_host.items()))}; "
        f"{len(after.sessions)} sessions, {seconds:.0f} s"
    )


def hosts(view: RunView) -> set[str]:
    return {str(t.result.environment["host"]) for t in view.complete}


def test_a_node_that_is_killed_in_mid_trial_costs_time_and_one_that_joins_is_used(tmp_path: Path) -> None:
    with network() as net, ray_cluster() as cluster:
        cluster.host, prefix = net.machine()
        cluster.head(cpus=0, prefix=prefix)
        (first, of_first), (second, of_second), (third, of_third) = net.machine(), net.machine(), net.machine()
        victim = cluster.worker(host=first, prefix=of_first)
        cluster.worker(host=second, prefix=of_second)
        program = cluster.start(*arguments(tmp_path / "run", cluster.address))
        wait_for(program, tmp_path / "run", complete=1)
        victim.kill()
        before = RunView.load(tmp_path / "run")
        cluster.worker(host=third, prefix=of_third)
        after = ends_well(program, tmp_path / "run", before)
    assert {"machine-3", "machine-4"} <= hosts(after)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [1, pytest.param(45, marks=pytest.mark.long)])
def test_a_node_that_is_cut_off_and_comes_back_loses_nothing(tmp_path: Path, seconds: int) -> None:
    """For an instant nobody is to notice; for longer than Ray waits, its trials are trained elsewhere."""
    with network() as net, ray_cluster() as cluster:
        cluster.host, prefix = net.machine()
        cluster.head(cpus=0, prefix=prefix)
        (first, of_first), (second, of_second) = net.machine(), net.machine()
        cut = cluster.worker(host=first, prefix=of_first)
        cluster.worker(host=second, prefix=of_second)
        program = cluster.start(*arguments(tmp_path / "run", cluster.address))
        wait_for(program, tmp_path / "run", complete=1)
        net.cut(2)
        before = RunView.load(tmp_path / "run")
        time.sleep(seconds)
        net.heal(2)
        if seconds > 10:  # declared dead: it ends, and whoever runs it starts it again
            cut.process.wait(timeout=60)
            assert program.poll() is None  # there is something left to do for it
            cluster.worker(host=first, prefix=of_first)
        ends_well(program, tmp_path / "run", before)


@pytest.mark.long
def test_a_driver_that_is_killed_and_started_again_goes_on(tmp_path: Path) -> None:
    """The cluster stays up: what the killed driver had there does not keep the next one from its cores."""
    with ray_cluster() as cluster:
        cluster.head()
        cluster.worker()
        command = arguments(tmp_path / "run", cluster.address)
        program = cluster.start(*command)
        wait_for(program, tmp_path / "run", complete=2)
        for pid in [program.pid, *descendants(program.pid)]:
            os.kill(pid, signal.SIGKILL)
        program.communicate()
        before = RunView.load(tmp_path / "run")
        assert before.sessions[-1].outcome is None
        ends_well(cluster.start(*command), tmp_path / "run", before)


@pytest.mark.long
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in DASHBOARD),
    reason="ray job submit takes ray[default] on the head, and it is not installed",
)
def test_a_job_that_is_killed_and_submitted_again_goes_on(tmp_path: Path) -> None:
    with ray_cluster() as cluster:
        cluster.head(dashboard=True)
        cluster.worker()
        first = submit(cluster, tmp_path)
        view = wait_for(first, tmp_path / "run", complete=2)
        assert view.sessions[-1].outcome is None
        (driver,) = drivers(cluster, tmp_path / "run")
        os.kill(driver, signal.SIGKILL)
        first.communicate(timeout=120)
        before = RunView.load(tmp_path / "run")
        again = submit(cluster, tmp_path)
        narration, _ = again.communicate(timeout=600)
        assert again.returncode == 0, narration
        is_whole(tmp_path / "run", before, 6)


def submit(cluster: Cluster, folder: Path) -> subprocess.Popen[str]:
    """`ray job submit`, which tells what the job says and ends with it."""
    command = [sys.executable, "-m", "nas", *map(str, arguments(folder / "run", "auto"))]
    program = subprocess.Popen(
        [sys.executable, str(RAY), "job", "submit", "--address", cluster.dashboard, "--", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, **cluster.environment},
    )  # fmt: skip
    cluster.drivers.append(program)
    return program


def drivers(cluster: Cluster, folder: Path) -> list[int]:
    """The processes of a search among those of the head."""
    found = []
    for pid in cluster.nodes[0].processes():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if re.match(rf"\S*python\S* -m nas search .*{re.escape(str(folder))}", line):
            found.append(pid)
    return found
