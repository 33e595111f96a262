"""The command line: click only; each command imports what it needs."""
