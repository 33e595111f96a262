"""What keeps a network from being exported, said in one line."""

from __future__ import annotations

from search_spaces.errors import UserError


class ExportError(UserError, ValueError):
    """A network, folder or operator source that cannot be exported: the message says how to mend it."""
