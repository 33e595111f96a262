"""What stands beside a search: check, doctor, reprice, discover, latency."""
