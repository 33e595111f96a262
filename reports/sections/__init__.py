"""The parts of a report, in the order of its questions; each makes blocks of what the run's view says."""
