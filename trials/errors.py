"""What can go wrong with a record or a measurement, said in one line."""

from __future__ import annotations


class BudgetError(ValueError):
    """A budget that cannot be read: the message says what was given and what is allowed."""


class StoreError(RuntimeError):
    """A run's record that cannot be used; the file is left as it was."""


class StoreDamaged(StoreError):
    """`study.db` is truncated, not a database, or fails its integrity check."""


class RunInUse(StoreError):
    """Another process is writing this run's record."""
