"""Every setting: defaults, checks, files, and what may change in a run that goes on."""
