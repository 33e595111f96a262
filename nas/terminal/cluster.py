"""What `nas cluster check` found, as a person reads it in a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from reports.formatting import format_bytes

if TYPE_CHECKING:
    from rich.console import Console

    from nas.tools.cluster.asking import Asked
    from nas.tools.cluster.checking import Checked


def print_checked(console: Console, checked: Checked) -> None:
    """A line for each node, and two for each thing that is wrong."""
    from nas.tools.cluster.checking import named

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "role", "versions", "device", "CPUs", "memory", "least free", "clock", "data", "space"):
        table.add_column(name)
    for one in checked.nodes:
        table.add_row(named(one), _role(one), *_told(one))
    console.print(table)
    for trouble in checked.troubles:
        kind = "warning" if trouble.warning else "PROBLEM"
        console.print(f"{kind} {trouble.node}: {trouble.what}", soft_wrap=True)
        console.print(f"        mend: {trouble.mend}", soft_wrap=True)
    nodes = f"{len(checked.nodes)} node{'s' if len(checked.nodes) != 1 else ''}"
    wrong = sum(not trouble.warning for trouble in checked.troubles)
    console.print(f"{nodes}: fit to search" if checked.fit else f"{nodes}: {wrong} to mend before a search")


def _role(one: Asked) -> str:
    return ", ".join(name for name, there in (("head", one.head), ("driver", one.here)) if there) or "worker"


def _told(one: Asked) -> list[str]:
    if one.error is not None:
        return ["no answer"]
    about = one.about
    packages = about["packages"]
    versions = f"Python {about['python']}, torch {packages.get('torch')}, nas {packages.get('fusion-nas')}"
    gpus = Counter(f"{gpu['name']} {format_bytes(gpu['memory_bytes'])}" for gpu in about["gpus"])
    device = ", ".join(f"{count} × {name}" for name, count in gpus.items()) or "cpu"
    free = min(about["free_bytes"].values(), default=0)
    clock = "" if one.clock_offset_s is None else f"{one.clock_offset_s * 1000:+.0f} ms"
    agreed = one.agreement or {}
    data, space = (str(agreed.get(key, "missing" if f"{key}_error" in agreed else "—")) for key in ("data", "space"))
    cores = f"{one.resources.get('CPU', 0):g} of {about['cores']}"
    return [versions, device, cores, format_bytes(about["memory_bytes"]), format_bytes(free), clock, data, space]
