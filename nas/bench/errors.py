"""What can be wrong with a table, or with what is asked of it."""

from search_spaces.errors import UserError


class BenchError(UserError, LookupError):
    """A table that cannot be used, or lacks what is asked: one line, what was given, what is there, how to mend it."""
