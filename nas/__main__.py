"""`python -m nas` is the `nas` program."""

import os
import sys

# Python puts the folder one stands in first: a file there may be called as one of our packages. Only what Python itself
# has loaded by now is used to see that, for it may be called as one of Python's too.
if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109
    sys.path.append(sys.path.pop(0))

from nas.cli.main import main

main()
