"""`python -m benchmarks [NAME …]`: run all benchmarks, or the named ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks import (
    costs,
    data_costs,
    estimates,
    exports,
    latency,
    operators,
    quantised,
    record,
    regimes,
    report,
    reprice,
    scale,
    startup,
    trials,
    verdicts,
    warm_start,
)
from benchmarks.chaos import chaos

BENCHMARKS: dict[str, Callable[[], None]] = {
    "startup": startup.main,
    "record": record.main,
    "reprice": reprice.main,
    "report": report.main,
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


#: Run when named, alone: they take options of their own.
WITH_OPTIONS: dict[str, Callable[[Sequence[str]], None]] = {
    "chaos": chaos.main,
    "scale": scale.main,
    "exports": exports.main,
    "quantised": quantised.main,
}


def main() -> None:
    if sys.argv[1:2] and (own := WITH_OPTIONS.get(sys.argv[1])) is not None:
        own(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    rest = f"all but {', '.join(LONG)}, which take long; or one of {', '.join(WITH_OPTIONS)} alone, which take --help"
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {rest}")
    for name in parser.parse_args().names or [name for name in BENCHMARKS if name not in LONG]:
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').strip().splitlines()[0]}")
        BENCHMARKS[name]()


main()
