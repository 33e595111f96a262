"""`python -m benchmarks [NAME …]`: run all benchmarks, or the named ones."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import (
    costs,
    data_costs,
    estimates,
    latency,
    operators,
    record,
    regimes,
    reprice,
    startup,
    trials,
    verdicts,
    warm_start,
)

BENCHMARKS: dict[str, Callable[[], None]] = {
    "startup": startup.main,
    "record": record.main,
    "reprice": reprice.main,
    "costs": costs.main,
    "data_costs": data_costs.main,
    "estimates": estimates.main,
    "operators": operators.main,
    "latency": latency.main,
    "trials": trials.main,
    "regimes": regimes.main,
    "verdicts": verdicts.main,
    "warm_start": warm_start.main,
}


#: Run when named: they take half an hour and more, or a machine with nothing else on it.
LONG = ("latency", "trials", "regimes", "verdicts", "warm_start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all but {', '.join(LONG)}, which take long")
    for name in parser.parse_args().names or [name for name in BENCHMARKS if name not in LONG]:
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').strip().splitlines()[0]}")
        BENCHMARKS[name]()


main()
