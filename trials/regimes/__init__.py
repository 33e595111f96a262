"""Learning regimes: what a trial starts from, and what is shared by all trials before the first one."""
