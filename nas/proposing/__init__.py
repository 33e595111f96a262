"""What to try next: Optuna's ask and tell, and what is known already."""
