"""What stands beside a search: check, doctor, recover, reprice, discover, latency."""
