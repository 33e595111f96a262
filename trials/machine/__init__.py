"""The machine: devices, quiet, time limits, failures."""
