"""`python -m nas` is the `nas` program."""

from nas.cli import main

main()
