"""Machines made of one: a network namespace each, with a host name of its own, on a bridge whose links can be cut."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

_numbers = itertools.count()


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


@dataclass
class Network:
    """Machines on a bridge. name: short, of this process alone, for devices have 15 letters."""

    name: str
    subnet: str
    machines: list[str] = field(default_factory=list)

    def machine(self, setup: str = "true") -> tuple[str, tuple[str, ...]]:
        """A new machine: its address, and what a command runs there under. `setup` is run there before, by sh."""
        number = len(self.machines) + 1
        space, address = f"{self.name}m{number}", f"{self.subnet}.{number + 1}"
        outside, inside = f"{self.name}o{number}", f"{self.name}i{number}"
        for words in (
            f"netns add {space}", f"link add {outside} type veth peer name {inside}",
            f"link set {inside} netns {space}", f"link set {outside} master {self.name} up",
            f"-n {space} addr add {address}/24 dev {inside}", f"-n {space} link set {inside} up",
            f"-n {space} link set lo up",
        ):  # fmt: skip
            done = _ip(*words.split())
            assert done.returncode == 0, (words, done.stderr)
        self.machines.append(space)
        # `ip netns exec` has mounts of its own: what `setup` mounts is seen there alone.
        begin = f'hostname {self.host(number)} && {setup} && exec "$@"'
        return address, ("ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", begin, "sh")

    def host(self, number: int) -> str:
        return f"machine-{number}"

    def cut(self, number: int) -> None:
        assert _ip("link", "set", f"{self.name}o{number}", "down").returncode == 0

    def heal(self, number: int) -> None:
        assert _ip("link", "set", f"{self.name}o{number}", "up").returncode == 0

    def close(self) -> None:
        for number, space in enumerate(self.machines, start=1):
            _ip("link", "del", f"{self.name}o{number}")
            _ip("netns", "del", space)
        _ip("link", "del", self.name)


@contextmanager
def network() -> Iterator[Network]:
    """Skips, with the reason, where this machine does not let one be made."""
    number = next(_numbers)
    made = Network(f"n{os.getpid() % 100_000}x{number % 10}", f"10.{77 + number % 10}.{os.getpid() % 250}")
    try:
        done = _ip("link", "add", made.name, "type", "bridge")
    except FileNotFoundError:
        pytest.skip("several networks on one machine take ip (iproute2), and it is not installed")
    if done.returncode:
        pytest.skip(f"this machine lets no network be made: {done.stderr.strip()}")
    try:
        assert _ip("addr", "add", f"{made.subnet}.1/24", "dev", made.name).returncode == 0
        assert _ip("link", "set", made.name, "up").returncode == 0
        probe = _ip("netns", "add", f"{made.name}p")
        if probe.returncode:
            pytest.skip(f"this machine lets no network namespace be made: {probe.stderr.strip()}")
        _ip("netns", "del", f"{made.name}p")
        yield made
    finally:
        made.close()
