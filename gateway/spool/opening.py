"""Opening the spool: one daemon a file, what the last one left, which upstreams are still there. Disk's thread only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.errors import SpoolError
from gateway.spool.recovery import recover
from gateway.spool.schema import Changes, Opening
from gateway.spool.store import DamagedError, Store, translated

ALIVE: Final = "spool.alive"  # UTC ns of the last sign of life
CLEAN: Final = "spool.clean"  # b"1" after a stop in order
LEDGER: Final = "spool.losses"
_LAST: Final = 1 << 62


class InUseError(SpoolError):
    """Another daemon has this spool: two would send the same blocks."""


def lock(path: Path) -> int:
    """Take the lock file beside the database, for as long as the handle is open. InUseError, SpoolError."""
    with translated():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InUseError(f"{path} is in use by another daemon") from error
    except OSError as error:
        os.close(handle)
        raise SpoolError(f"can't lock {path}: {error.strerror}") from error
    return handle


def open_store(store: Store, upstreams: Collection[str], now_ns: int, damage: str = "") -> Opening:
    """Open the file, take over what stands in it, and note that a daemon runs on it. SpoolError.

    A file that turns out damaged, or is known to be so (`damage`), is replaced by what can be saved from it.
    """
    if not damage:
        try:
            store.connect()
            return _begin(store, upstreams, now_ns)
        except DamagedError as error:
            damage = str(error)
    found = recover(store, damage)
    opening = _begin(store, upstreams, now_ns)
    return replace(opening, damage=found.reason, aside=found.aside, lost=found.lost, lost_from_ns=found.from_ns)


def _begin(store: Store, upstreams: Collection[str], now_ns: int) -> Opening:
    clean, alive = recall(store, CLEAN), recall(store, ALIVE)
    since = int.from_bytes(alive, "little") if clean == b"0" and alive is not None else None
    ledger = recall(store, LEDGER) or b""
    left = _settle_upstreams(store, upstreams)
    store.apply(Changes(keep={CLEAN: b"0", ALIVE: now_ns.to_bytes(8, "little")}))
    return Opening(store.usage(), store.last_outside(), _backlog(store), since, ledger, left=left)


def recall(store: Store, key: str) -> bytes | None:
    """A kept value."""
    with translated():
        row = store.db.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
    return None if row is None else bytes(row[0])


def forget(store: Store, names: Collection[str], last: int | None = None) -> None:
    """Drop the deliveries of these upstreams (up to block `last`), and the blocks that only they needed."""
    inside = _LAST if last is None else last + (store.shift or 0)
    with store.transaction() as db:
        for name in names:
            query = "DELETE FROM delivery WHERE upstream = (SELECT id FROM upstream WHERE name = ?) AND seq <= ?"
            db.execute(query, (name, inside))
        db.execute("DELETE FROM block WHERE seq NOT IN (SELECT seq FROM delivery)")


def _settle_upstreams(store: Store, wanted: Collection[str]) -> Mapping[str, int]:
    """Who is new takes over the backlog of those who left (a renamed upstream), else it goes: readings by name."""
    backlog = _backlog(store)
    with store.transaction() as db:
        known = {name for (name,) in db.execute("SELECT name FROM upstream")}
        gone, new = sorted(known - set(wanted)), sorted(set(wanted) - known)
        for name in new:
            db.execute("INSERT INTO upstream(name) VALUES(?)", (name,))
            for left in gone:
                db.execute(
                    "INSERT OR IGNORE INTO delivery SELECT n.id, d.seq, d.rows FROM delivery d, upstream n, upstream g"
                    " WHERE n.name = ? AND g.name = ? AND d.upstream = g.id",
                    (name, left),
                )
    if gone:
        forget(store, gone)
        with store.transaction() as db:
            db.executemany("DELETE FROM upstream WHERE name = ?", ((name,) for name in gone))
    store.reload()
    return {} if new else {name: backlog[name] for name in gone if backlog.get(name)}


def _backlog(store: Store) -> dict[str, int]:
    query = (
        "SELECT u.name, coalesce(sum(d.rows), 0) FROM delivery d JOIN upstream u ON u.id = d.upstream"
        " GROUP BY d.upstream"
    )
    with translated():
        return dict(store.db.execute(query).fetchall())
