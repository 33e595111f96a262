"""`python -m nas` is the `nas` program."""

import sys

# Python puts the folder one stands in first: a file there may be called as one of our packages.
if not sys.flags.safe_path and sys.path[0] in ("", __import__("os").getcwd()):
    sys.path.append(sys.path.pop(0))

from nas.cli.main import main

main()
