"""`python -m nas.session.estimating RUN`: prints what is to be kept of a run's estimates, for `nas.session.keeping`.

It gives way to whatever else runs, and ends with whoever holds the other end of its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress

from reports.keeping import to_keep
from reports.view import RunView


def main() -> None:
    with suppress(OSError):
        os.nice(10)
    threading.Thread(target=_end_with_the_search, daemon=True).start()
    kept = to_keep(RunView.load(sys.argv[1]))
    if kept is not None:
        json.dump(kept.to_json(), sys.stdout)


def _end_with_the_search() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
