"""`nas cluster check`: what is wrong with the nodes of a cluster for one search, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.settings.search import SearchConfig
from nas.tools.cluster.asking import Asked, ask, connected
from nas.tools.cluster.node import Node
from reports.formatting import format_bytes
from trials.record.file import network_file_system

#: Free bytes below which a place is named: decoded images, weights, what Ray keeps.
LEAST_FREE_BYTES = 1_000_000_000
#: Seconds by which clocks may differ: leases and the times of a record are compared among machines.
MOST_CLOCK_OFFSET_S = 2.0
#: The seconds in which all must be said.
WITHIN_S = 60.0
#: What must be equal up to the second number of its version: it decides what a training gives.
_TRAINS = ("torch", "torchvision")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong: where, what, and how to mend it. A warning lets a search run all the same."""

    node: str
    what: str
    mend: str
    warning: bool = False


@dataclass(frozen=True)
class Checked:
    """The driver's own answers, those of all nodes, and what is wrong with them."""

    driver: Mapping[str, Any]
    expected: Mapping[str, Any]
    nodes: tuple[Asked, ...]
    troubles: tuple[Trouble, ...]

    @property
    def fit(self) -> bool:
        return all(trouble.warning for trouble in self.troubles)

    def to_json(self) -> dict[str, Any]:
        return {
            "fit": self.fit,
            "driver": {**self.driver, **self.expected},
            "nodes": [asdict(one) for one in self.nodes],
            "troubles": [asdict(trouble) for trouble in self.troubles],
        }


def check(config: SearchConfig, say: Callable[[str], None] = lambda line: None, within_s: float = WITHIN_S) -> Checked:
    """Ask every node of the cluster at `config.ray.address` (None: the one that this machine belongs to).

    Raises ConfigError where there is no cluster, and what is wrong with the data or the space of the driver itself.
    """
    from nas.trainings.prepared import prepare  # brings torch

    say("reading the data and the space here")
    prepared = prepare(config, say)
    space = prepared.space
    expected = {"data": prepared.data.fingerprint, "space": space.fingerprint, "code": space.code}
    with connected(config.ray.address or "auto"):
        nodes = ask(config.to_json(), space.input.to_json(), not ships_data(config), within_s, say)
    driver = Node().about()
    return Checked(driver, expected, tuple(nodes), tuple(troubles(config, driver, expected, nodes)))


def ships_data(config: SearchConfig) -> bool:
    """Whether nodes get the data from the driver, and need none of their own."""
    return config.ray.ship_data


def troubles(
    config: SearchConfig, driver: Mapping[str, Any], expected: Mapping[str, Any], nodes: Sequence[Asked]
) -> Iterator[Trouble]:
    """What is wrong, node by node, and then with the cluster as a whole."""
    for one in nodes:
        name = named(one)
        if one.error is not None:
            yield Trouble(name, f"no answer: {one.error}", "see Ray's own logs there; restart its ray start")
            continue
        yield from _versions(name, driver, one.about)
        yield from _machine(name, one)
        yield from _agreement(name, config, expected, one.agreement)
    yield from _together(config, nodes)


def named(one: Asked) -> str:
    """A node as people find it: by host and address."""
    return f"{one.about['host']} ({one.address})" if "host" in one.about else one.address


def _versions(name: str, driver: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[Trouble]:
    here, there = driver["packages"], about["packages"]
    install = f"install fusion-nas {here.get('fusion-nas')} and the driver's requirements there"
    if "fusion-nas" not in there and about["formulas"] is None:
        yield Trouble(name, "fusion-nas is not installed", install)
        return
    if about["python"].rpartition(".")[0] != driver["python"].rpartition(".")[0]:
        yield Trouble(name, f"Python {about['python']}, the driver has {driver['python']}", "use one Python everywhere")
    for package in here:
        short = (lambda version: version.split("+")[0].split(".")[:2]) if package in _TRAINS else str
        if package == "optuna" and package not in there:
            continue  # it proposes, which the driver alone does
        if package not in there or short(there[package]) != short(here[package]):
            least = package in ("numpy", "optuna")
            yield Trouble(
                name, f"{package} {there.get(package, 'is not installed')}, the driver has {here[package]}",
                f"pip install {package}=={here[package]} there", warning=least,
            )  # fmt: skip
    if about["formulas"] != driver["formulas"]:
        yield Trouble(
            name, f"operators or training code of fingerprint {about['formulas']}, the driver's {driver['formulas']}",
            "install the very same fusion-nas on every node",
        )  # fmt: skip


def _machine(name: str, one: Asked) -> Iterator[Trouble]:
    about = one.about
    for place, free in about["free_bytes"].items():
        if free < LEAST_FREE_BYTES:
            yield Trouble(
                name, f"{format_bytes(free)} free for {place}, a search wants {format_bytes(LEAST_FREE_BYTES)}",
                "free some, or set TMPDIR, FUSION_NAS_CACHE or ray start --temp-dir to a disk with room there",
            )  # fmt: skip
    if about["flock"] is not None:
        yield Trouble(
            name, f"files cannot be locked ({about['flock']})",
            "set FUSION_NAS_LOCKS to a folder on a local disk there: measurements keep each other away by locks",
        )  # fmt: skip
    offset, error = one.clock_offset_s or 0.0, one.clock_error_s or 0.0
    if abs(offset) - error > MOST_CLOCK_OFFSET_S:
        yield Trouble(
            name, f"its clock is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the driver's",
            "synchronise the clocks (chrony, ntpd)",
        )  # fmt: skip
    cpus, usable = one.resources.get("CPU", 0.0), about["cores"]
    if cpus > usable + 0.5:
        yield Trouble(
            name, f"Ray counts {cpus:g} CPUs, the machine or its container lets {usable} be used",
            f"ray start --num-cpus {usable} there", warning=True,
        )  # fmt: skip


def _agreement(
    name: str, config: SearchConfig, expected: Mapping[str, Any], agreement: Mapping[str, Any] | None
) -> Iterator[Trouble]:
    if agreement is None:
        yield Trouble(
            name, "data and space were not read in time",
            "ask again: images are decoded once a node; where they are many, start with nas check there",
        )  # fmt: skip
        return
    bring = f"bring {config.data} there, equal to the driver's, or ship them: --ship-data true"
    if "data_error" in agreement:
        yield Trouble(name, f"no data: {agreement['data_error']}", bring)
    elif not ships_data(config) and agreement["data"] != expected["data"]:
        yield Trouble(name, f"other data: fingerprint {agreement['data']}, the driver's is {expected['data']}", bring)
        return  # the space is made for their classes and size
    if "space_error" in agreement:
        yield Trouble(name, f"no space: {agreement['space_error']}", f"bring {config.space} there, at the same path")
    elif any(agreement[key] != expected[key] for key in ("space", "code")):
        told = "the same points" if agreement["space"] == expected["space"] else agreement["space"]
        yield Trouble(
            name, f"another space: {told}, code {agreement['code']}; the driver's is {expected['space']}, "
            f"code {expected['code']}", f"bring {config.space} and what it imports there, as the driver has it",
        )  # fmt: skip


def _together(config: SearchConfig, nodes: Sequence[Asked]) -> Iterator[Trouble]:
    answering = [one for one in nodes if one.error is None]
    if any(one.about["token_authentication"] is False for one in answering):
        yield Trouble(
            "all nodes", "Ray asks for no token: whoever reaches its ports runs what they like there",
            "ray get-auth-token --generate, copy ~/.ray/auth_token to every node, restart with RAY_AUTH_MODE=token",
            warning=True,
        )  # fmt: skip
    kinds = {one["name"] for asked in answering for one in asked.about["gpus"]}
    if len(kinds) > 1:
        yield Trouble(
            "all nodes", f"GPUs of {len(kinds)} kinds ({', '.join(sorted(kinds))})",
            "latency is compared across trials: search on nodes of one kind, or with a --latency-profile", warning=True,
        )  # fmt: skip
    if config.device.startswith("cuda") and not kinds:
        yield Trouble("all nodes", f"--device {config.device}, and no node has a GPU", "add one, or give --device cpu")
    if not any(one.resources.get("CPU", 0) >= config.ray.cpus_per_trial for one in answering):
        yield Trouble(
            "all nodes", f"no node has the {config.ray.cpus_per_trial:g} CPUs of a trial", "start one that has"
        )
    kind = network_file_system(Path(config.out).absolute().parent)
    if kind is not None:
        yield Trouble(
            "driver", f"--out {config.out} is on a network file system ({kind})",
            "put the run on the head's local disk, with --backup on the shared one", warning=True,
        )  # fmt: skip
