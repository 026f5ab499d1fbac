"""One connection to the spool's file, for the disk's thread. Foreign errors become SpoolError here."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.errors import SpoolError
from gateway.spool.ballast import Ballast
from gateway.spool.schema import PAGE, PRAGMAS, TABLES, VERSION, Usage

FAILURES: Final = (sqlite3.Error, OSError, UnicodeDecodeError, OverflowError)  # all that sqlite3 was seen to raise
_UNREADABLE: Final = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


def readable(stored: bytes) -> str:
    """Text from the file: a flipped bit must not make a whole row unreadable."""
    return stored.decode(errors="replace")


class DamagedError(SpoolError):
    """The file is no database or its pages contradict each other: set it aside, save what can be read."""


class FullError(SpoolError):
    """No space left on the device. With `usage` what was to go is gone, and only what was to come isn't there."""

    usage: Usage | None = None


@contextmanager
def translated() -> Iterator[None]:
    """Foreign errors as ours, named by what the caller does."""
    try:
        yield
    except FAILURES as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        if code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in {errno.ENOSPC, errno.EDQUOT}:
            raise FullError("no space left on the device") from error
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or extended in _UNREADABLE:
            raise DamagedError(f"damaged: {error}") from error
        raise SpoolError(str(error) or type(error).__name__) from error


class Database:
    """The file, its tables, and transactions on it."""

    def __init__(self, path: Path, ballast: Ballast | None = None) -> None:
        self.path = path
        self.ballast = ballast or Ballast(path.with_name(path.name + ".ballast"))
        self._db: sqlite3.Connection | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; SpoolError where it is closed."""
        if self._db is None:
            raise SpoolError("the database is not open")
        return self._db

    def connect(self) -> None:
        """Open or make the file. SpoolError, DamagedError."""
        with translated():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.ballast.exists() and self.path.is_file() and self.path.stat().st_size == 0:
                raise DamagedError("damaged: cut to nothing")
            self._db = db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            db.text_factory = readable
            for pragma in PRAGMAS:
                db.execute(pragma)
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise DamagedError(f"written by a later release (version {version})")
            db.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                db.execute(table)
            db.execute(f"PRAGMA user_version={VERSION}")
            db.execute("COMMIT")
            self.ballast.restore()

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        if self._db is not None:
            with translated():
                self._db.close()
        self._db = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when it is left without an error."""
        with translated():
            db = self.db
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except FAILURES:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def recall(self, key: str) -> bytes | None:
        """A kept value."""
        with translated():
            row = self.db.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def bytes_used(self) -> int:
        """Real bytes in use: a page that a delete gave back doesn't count."""
        with translated():
            (pages,) = self.db.execute("PRAGMA page_count").fetchone()
            (free,) = self.db.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE

    def checkpoint(self) -> None:
        """Move the log into the file and cut it to nothing: a flipped bit in the log costs all later commits."""
        with translated():
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
