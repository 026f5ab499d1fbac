"""Opening the spool: one daemon a file, what the last one left, which upstreams are still there. Disk's thread only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import SpoolError
from gateway.spool.database import DamagedError, translated
from gateway.spool.losses import Ledger
from gateway.spool.recovery import Damage, finish, recover
from gateway.spool.schema import ALIVE, CLEAN, LEDGER, Changes, Opener, Opening
from gateway.spool.store import Store

UNSEEN_NS: Final = 600_000_000_000  # a sign of life comes at least this often
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


def open_store(store: Store, opener: Opener, damage: str = "") -> Opening:
    """Open the file, take over what stands in it, and note that a daemon runs on it. SpoolError.

    A file that turns out damaged, or is known to be so (`damage`), is replaced by what can be saved from it.
    """
    if not damage:
        finish(store.path)
        try:
            store.connect()
            return _begin(store, opener, None)
        except DamagedError as error:
            damage = str(error)
    return _begin(store, opener, recover(store, damage, opener))


def _begin(store: Store, opener: Opener, damage: Damage | None) -> Opening:
    store.mend(opener.table)
    ledger = Ledger()
    ledger.load(store.recall(LEDGER) or b"", opener.upstreams)
    if opener.alive_ns is None:
        _add_power_cut(store, ledger, opener)
    for name, last in opener.forgotten:
        forget(store, [name], last)
    left = _settle_upstreams(store, opener.upstreams)
    alive_ns = opener.now_ns if opener.alive_ns is None else opener.alive_ns
    kept = ledger.to_json()
    store.apply(Changes(keep={CLEAN: b"0", ALIVE: alive_ns.to_bytes(8, "little", signed=True), LEDGER: kept or None}))
    opening = Opening(store.usage(), store.last_outside(), _backlog(store), kept, left=left)
    return opening if damage is None else damage.noted(opening)


def _add_power_cut(store: Store, ledger: Ledger, opener: Opener) -> None:
    """Where the last stop was none in order, what came since the last sign of life may be lost."""
    alive = store.recall(ALIVE)
    if store.recall(CLEAN) != b"0" or alive is None:
        return
    since = int.from_bytes(alive, "little", signed=True)
    # A clock that went back doesn't know when it ended, only that the next sign of life never came.
    until = opener.now_ns if opener.now_ns >= since else since + UNSEEN_NS
    ledger.add("power", opener.upstreams, {}, since, until, unknown=True)


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
