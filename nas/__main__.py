"""`python -m nas` is the `nas` program."""

from nas.cli.main import main

main()
