"""A damaged database is set aside and what can still be read of it moves into a new one. Blocking, disk's thread only.

Pages are read one block at a time by number, so a broken page costs only what stood on it; the CRC of each record
decides whether the block is whole.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import CodecError, SpoolError
from gateway.spool import record
from gateway.spool.store import FAILURES, Store, translated

_FINE_STEPS: Final = 256  # numbers tried one by one behind an unreadable one, before the steps double
_LAST: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Damage:
    """What happened to the file."""

    reason: str
    aside: str
    lost: int | None = None  # readings; None: unknown
    from_ns: int = 0  # reading time of the oldest block that was saved, 0 where there was none


def recover(store: Store, reason: str) -> Damage:
    """Set the file aside, open a new one and move what can be read. SpoolError where the disk doesn't let us."""
    with suppress(SpoolError):
        store.close()
    aside = set_aside(store.path, "newer" if "later release" in reason else "damaged")
    shift, store.shift = store.shift, 0
    store.connect()
    lost, from_ns = _move(aside, store)
    with translated():
        (last,) = store.db.execute("SELECT coalesce(max(seq), 0) FROM block").fetchone()
    store.shift = last if shift is None else shift
    store.reload()
    return Damage(reason, str(aside), lost, from_ns)


def set_aside(path: Path, word: str) -> Path:
    """Rename the file and its log; of the damaged ones only the newest stays. SpoolError."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.{word}-{stamp}")
    number = 0
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.{word}-{stamp}-{number}")
    with translated():
        for old in path.parent.glob(f"{path.name}.damaged-*"):
            old.unlink()
        path.rename(aside)
        log = path.with_name(path.name + "-wal")
        if log.exists():
            log.rename(aside.with_name(aside.name + "-wal"))
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


def _move(aside: Path, store: Store) -> tuple[int | None, int]:
    try:
        old = sqlite3.connect(aside, isolation_level=None)
        old.text_factory = store.db.text_factory
    except FAILURES:
        return None, 0
    with closing(old):
        with translated():
            store.db.execute("BEGIN IMMEDIATE")
        for table in ("upstream", "dictionary", "context", "kept"):
            _copy(old, store.db, table)
        store.reload()
        saved, from_ns = 0, 0
        for row in _blocks(old):
            if _whole(store, row):
                with translated():
                    store.db.execute("INSERT OR IGNORE INTO block VALUES(?, ?, ?, ?, ?, ?)", row)
                saved += row[1]
                from_ns = min(from_ns or row[2], row[2])
        expected = _deliveries(old, store.db)
        with translated():
            store.db.execute("COMMIT")
    return (None if expected is None else max(0, expected - saved)), from_ns


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    try:
        for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608  # our own table names
            places = ",".join("?" * len(row))
            with translated():
                new.execute(f"INSERT OR IGNORE INTO {table} VALUES({places})", row)
    except FAILURES:
        return


def _blocks(old: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    query = "SELECT seq, rows, first_ns, level, context, data FROM block WHERE seq > ? ORDER BY seq LIMIT 1"
    at, failures = -1, 0
    while at < _LAST:
        try:
            row = old.execute(query, (at,)).fetchone()
        except FAILURES:
            failures += 1
            at += 1 if failures < _FINE_STEPS else 1 << min(failures - _FINE_STEPS, 59)
            continue
        if row is None:
            return
        at, failures = row[0], 0
        yield row


def _whole(store: Store, row: tuple[Any, ...]) -> bool:
    if not (isinstance(row[5], bytes) and all(isinstance(field, int) for field in row[:5])):
        return False
    if record.is_newer(row[5]):
        return True
    try:
        record.decode(row[5], store.context(row[4]))
    except CodecError:
        return False
    return True


def _deliveries(old: sqlite3.Connection, new: sqlite3.Connection) -> int | None:
    """Copy who still needs what; every upstream needs a block whose records are gone. Returns the readings expected."""
    expected: dict[int, int] = {}
    readable = True
    try:
        for upstream, seq, rows in old.execute("SELECT upstream, seq, rows FROM delivery"):
            expected[seq] = rows
            with translated():
                if new.execute("SELECT 1 FROM block WHERE seq = ?", (seq,)).fetchone() is not None:
                    new.execute("INSERT OR IGNORE INTO delivery VALUES(?, ?, ?)", (upstream, seq, rows))
    except FAILURES:
        readable = False
    with translated():
        new.execute(
            "INSERT INTO delivery SELECT u.id, b.seq, b.rows FROM block b, upstream u"
            " WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = b.seq)"
        )
    return sum(expected.values()) if readable else None
