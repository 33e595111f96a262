"""Why a run has no trial to give."""

from __future__ import annotations

from search_spaces.errors import UserError


class SelectionError(UserError, ValueError):
    """No trial answers to what was asked: the message says which there are."""


class NothingToSelect(UserError, RuntimeError):
    """No trial of a run answers to `best`, `knee`, `fastest` or `cheapest`: the message says why."""


class NothingFeasible(NothingToSelect):
    """No trial (or no architecture) meets the budgets: the message gives the nearest figures."""

    exit_code = 3


class AllFailed(NothingToSelect):
    """Trials were begun and none was completed: the message says why, not that budgets are too tight."""

    exit_code = 1


class ReportError(UserError, ValueError):
    """A report cannot be read or made: the message says why, and what would do."""
