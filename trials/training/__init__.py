"""One training: loop, step, batches, what it starts from."""
