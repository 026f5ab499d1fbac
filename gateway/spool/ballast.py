"""A file that only takes up room: on a full disk it is given back, so that deleting (which needs space) still works."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

BYTES: Final = 1 << 20  # more than the write-ahead log grows between two checkpoints


class Ballast:
    """One file of fixed size. Neither call raises: without ballast the spool works as long as the disk has room."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """Whether a database was opened here before."""
        return self._path.exists()

    def release(self) -> None:
        """Give the room back."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return

    def restore(self) -> None:
        """Take the room again, if there is any."""
        try:
            if self._path.exists() and self._path.stat().st_size == BYTES:
                return
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(handle, 0, BYTES)
            finally:
                os.close(handle)
        except OSError:
            self.release()
