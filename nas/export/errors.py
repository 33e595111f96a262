"""What keeps a network from being exported, said in one line."""

from __future__ import annotations

from search_spaces.errors import UserError


class ExportError(UserError, ValueError):
    """A network, folder or operator source that cannot be exported: the message says how to mend it."""


class ArtefactError(ExportError):
    """One artefact that does not run or does not compute what the network computes; the others may be sound."""

    def __init__(self, artefact: str, message: str) -> None:
        super().__init__(message)
        self.artefact = artefact
