"""A Ray cluster of several `ray start` processes on this machine: nodes that are killed, added and cut off.

Nothing here touches another Ray that runs beside it: a cluster has a folder, ports and processes of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.nodes import descendants

RAY = Path(sys.executable).with_name("ray")
#: Seconds in which a node has started, on a machine that does much else.
STARTS_WITHIN_S = 300.0
#: A test that is killed leaves no node behind.
WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()


@dataclass
class Node:
    """One `ray start --block`, and what it started."""

    process: subprocess.Popen[bytes]
    prefix: tuple[str, ...] = ()
    log: Path = Path(os.devnull)

    def processes(self) -> list[int]:
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self) -> None:
        """SIGKILL for the raylet and all of its workers at once: the machine is gone."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Cluster:
    """A head and its workers. `environment` is that of all of their processes."""

    folder: Path
    environment: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 0
    dashboard_port: int = 0
    nodes: list[Node] = field(default_factory=list)
    #: What has to run for longer than the nodes, by process id: never more than what this cluster began.
    drivers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def dashboard(self) -> str:
        return f"http://{self.host}:{self.dashboard_port}"

    def head(self, cpus: int = 1, prefix: tuple[str, ...] = (), dashboard: bool = False) -> Node:
        self.port = self.port or free_port()
        options = ["--include-dashboard=false"]
        if dashboard:
            self.dashboard_port = free_port()
            options = ["--include-dashboard=true", f"--dashboard-port={self.dashboard_port}"]
        return self._start(
            prefix, "--head", f"--port={self.port}", f"--node-ip-address={self.host}", *options,
            f"--temp-dir={self.folder}", cpus=cpus,
        )  # fmt: skip

    def worker(self, cpus: int = 1, host: str | None = None, prefix: tuple[str, ...] = (), **more: str) -> Node:
        return self._start(
            prefix, f"--address={self.address}", f"--node-ip-address={host or self.host}", cpus=cpus, environment=more
        )

    def _start(
        self,
        prefix: tuple[str, ...],
        *options: str,
        cpus: int,
        environment: Mapping[str, str] | None = None,
        tries: int = 8,
    ) -> Node:
        command = [
            *WITH_ITS_PARENT, *prefix, sys.executable, str(RAY), "start", "--block", f"--num-cpus={cpus}",
            "--num-gpus=0", "--object-store-memory=150000000", "--disable-usage-stats", *options,
        ]  # fmt: skip
        log = self.folder / f"node-{len(self.nodes)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **self.environment, **(environment or {})},
            )  # fmt: skip
        node = Node(process, prefix, log)
        self.nodes.append(node)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while b"Ray runtime started" not in log.read_bytes():
            if process.poll() is not None and b"timed out during startup" in log.read_bytes() and tries > 1:
                self.nodes.remove(node)  # Ray gives itself 30 s, on a machine that may do much else
                return self._start(prefix, *options, cpus=cpus, environment=environment, tries=tries - 1)
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        return node

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`nas …` on the head, to its end."""
        return subprocess.run(
            self._nas(*arguments), capture_output=True, text=True, timeout=900, check=False, cwd=cwd,
            env={**os.environ, **self.environment},
        )  # fmt: skip

    def start(self, *arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
        """`nas …` on the head, running."""
        program = subprocess.Popen(
            self._nas(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            cwd=cwd, env={**os.environ, **self.environment},
        )  # fmt: skip
        self.drivers.append(program)
        return program

    def _nas(self, *arguments: object) -> list[str]:
        prefix = self.nodes[0].prefix
        return [*prefix, sys.executable, "-m", "nas", *map(str, arguments)]

    def close(self) -> None:
        for program in self.drivers:
            if program.poll() is None:
                for pid in [program.pid, *descendants(program.pid)]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                program.communicate()
        for node in reversed(self.nodes):
            if node.process.poll() is None:
                node.kill()


@contextmanager
def ray_cluster(**environment: str) -> Iterator[Cluster]:
    """None of its nodes has started yet; all are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets' paths have 107 bytes
    locks = folder / "locks"
    locks.mkdir()
    # Gone nodes are known sooner than in half a minute; no token unless a test asks for it.
    quick = {
        "RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3",
        "RAY_health_check_initial_delay_ms": "2000", "RAY_health_check_timeout_ms": "5000",
        "FUSION_NAS_LOCKS": str(locks), "OMP_NUM_THREADS": "1",
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }  # fmt: skip
    cluster = Cluster(folder, {**quick, **environment})
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
