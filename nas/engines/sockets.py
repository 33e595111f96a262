"""Whether Ray's sockets fit where temporary files go."""

from __future__ import annotations

import os
import tempfile

#: Bytes of a temporary folder's path that leave room for the names of Ray's sockets: a socket's path takes 107 in all.
MAX_TMPDIR_BYTES = 40


def temporary_folder_is_short() -> bool:
    """Batch systems set a TMPDIR that may not be: Ray gets a folder in /tmp then, for as long as a search takes."""
    return len(os.fsencode(tempfile.gettempdir())) <= MAX_TMPDIR_BYTES
