"""Budgets: what is within them, and what a recorded trial costs under them."""
