"""`python -m nas.session.estimating RUN`: prints what is to be kept of a run's estimates, for `nas.session.keeping`.

It ends with whoever holds the other end of its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from reports.keeping import to_keep
from reports.view import RunView


def main() -> None:
    threading.Thread(target=_end_with_the_search, daemon=True).start()
    kept = to_keep(RunView.load(sys.argv[1]))
    if kept is not None:
        json.dump(kept.to_json(), sys.stdout)


def _end_with_the_search() -> None:
    os.read(sys.stdin.fileno(), 1)  # not by its buffer, whose lock a process that ends would wait for
    os._exit(1)


if __name__ == "__main__":
    main()
