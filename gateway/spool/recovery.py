"""What can be read of a damaged database moves into a new one that takes its place. Blocking, disk's thread only.

Pages are read one block at a time by number, so a broken page costs only what stood on it; the CRC of each record
decides whether the block is whole. The new file is whole, with the loss noted in it, before the old one is set aside:
a power cut in between only means that it is done again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.errors import CodecError, SpoolError
from gateway.readings import TagTable
from gateway.spool import record
from gateway.spool.database import FAILURES, readable, translated
from gateway.spool.losses import NO_TAG, Ledger
from gateway.spool.schema import LEDGER, Changes, Opener, Opening
from gateway.spool.store import Store

_FINE_STEPS: Final = 256  # numbers tried one by one behind an unreadable one, before the steps double
_LAST: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Damage:
    """What happened to the file."""

    reason: str
    aside: str
    lost: int
    news: bytes  # the loss, as a ledger keeps it

    def noted(self, opening: Opening) -> Opening:
        """The opening that followed."""
        return replace(opening, damage=self.reason, aside=self.aside, lost=self.lost, news=self.news)


@dataclass(slots=True)
class _Saved:
    lost: int | None = None  # readings; None: unknown
    from_ns: int = 0  # reading time of the oldest block that was saved, 0 where there was none


def recover(store: Store, reason: str, opener: Opener) -> Damage:
    """Move what can be read into a new file, set the old one aside. SpoolError where the disk doesn't let us."""
    upstreams, now_ns = opener.upstreams, opener.now_ns
    with suppress(SpoolError):
        store.close()
    fresh = Store(_fresh(store.path), store.ballast)
    with translated():
        _clear(fresh.path)
    with closing(fresh):
        fresh.connect()
        saved, news, ledger = _move(store.path, fresh, opener.table), Ledger(), Ledger()
        if saved.lost != 0:
            tags, since = {NO_TAG: saved.lost} if saved.lost else {}, saved.from_ns or now_ns
            news.add("spool_corrupt", upstreams, tags, since, now_ns, unknown=saved.lost is None)
        for part in (fresh.recall(LEDGER) or b"", news.to_json()):
            ledger.load(part, upstreams)
        fresh.apply(Changes(keep={LEDGER: ledger.to_json() or None}))
        last = fresh.last_outside()
        fresh.checkpoint()
    aside = set_aside(store.path, "newer" if "later release" in reason else "damaged")
    finish(store.path)
    store.shift = last if store.shift is None else store.shift
    store.connect()
    return Damage(reason, str(aside), saved.lost or 0, news.to_json())


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".fresh")


def finish(path: Path) -> None:
    """The new file takes the place of the one that was set aside, also after a power cut in between. SpoolError."""
    fresh = _fresh(path)
    with translated():
        if not path.exists() and fresh.exists():
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            fresh.rename(path)
        _clear(fresh)


def _clear(fresh: Path) -> None:
    for rest in fresh.parent.glob(f"{fresh.name}*"):
        rest.unlink()


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
        path.rename(aside)  # first: without its log it would be read again as something older
        log = path.with_name(path.name + "-wal")
        if log.exists():
            log.rename(aside.with_name(aside.name + "-wal"))
    return aside


def _move(old_file: Path, store: Store, table: TagTable) -> _Saved:
    try:
        old = sqlite3.connect(old_file, isolation_level=None)
        old.text_factory = readable
    except FAILURES:
        return _Saved()
    with closing(old):
        with store.transaction():
            known = [_copy(old, store.db, name) for name in ("upstream", "dictionary", "context", "kept")]
        store.mend(table)
        store.reload()
        with translated():
            store.db.execute("BEGIN IMMEDIATE")
        read, from_ns = 0, 0
        for row in _blocks(old):
            if _whole(store, row):
                with translated():
                    store.db.execute("INSERT OR IGNORE INTO block VALUES(?, ?, ?, ?, ?, ?)", row)
                read += row[1]
                from_ns = min(from_ns or row[2], row[2])
        expected = _deliveries(old, store.db)
        with translated():
            store.db.execute("COMMIT")
    # Without the kept values nobody knows what was told as lost, or whether the last stop was in order.
    return _Saved(None if expected is None or not known[-1] else max(0, expected - read), from_ns)


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> bool:
    """Copy a small table as far as it can be read; whether that is all of it."""
    try:
        for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608  # our own table names
            places = ",".join("?" * len(row))
            with translated():
                new.execute(f"INSERT OR IGNORE INTO {table} VALUES({places})", row)
    except FAILURES:
        return False
    return True


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
