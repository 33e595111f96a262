"""What an architecture is worth, estimated from all trainings of a run: `Estimates`."""
