"""The one error of a configuration."""

from __future__ import annotations

from search_spaces.errors import UserError


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used: one line that names where, what was given and what is allowed."""
