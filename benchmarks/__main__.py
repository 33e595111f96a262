"""`python -m benchmarks [NAME …]`: run all benchmarks, or the named ones."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import costs, latency, operators, record, startup

BENCHMARKS: dict[str, Callable[[], None]] = {
    "startup": startup.main,
    "record": record.main,
    "costs": costs.main,
    "operators": operators.main,
    "latency": latency.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    for name in parser.parse_args().names or BENCHMARKS:
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').strip().splitlines()[0]}")
        BENCHMARKS[name]()


main()
