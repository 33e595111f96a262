"""Searches answered from a table: worlds, a simulated clock, methods, and the comparison of them."""
