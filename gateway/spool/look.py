"""A look into a spool's file from outside, read-only, while a daemon may be working on it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from gateway.block import Block
from gateway.errors import CodecError, SpoolError
from gateway.readings import TagTable
from gateway.spool import record
from gateway.spool.database import FAILURES
from gateway.spool.schema import PAGE

_WAIT_S: Final = 5.0


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SpoolError(f"{path}: no such file")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_WAIT_S)


def status(path: Path) -> dict[str, Any]:
    """Bytes in use, blocks, and by upstream what waits: blocks, readings, time of the oldest (ms). SpoolError."""
    try:
        with closing(_open(path)) as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            (free,) = db.execute("PRAGMA freelist_count").fetchone()
            (blocks,) = db.execute("SELECT count(*) FROM block").fetchone()
            waiting = db.execute(
                "SELECT u.name, count(d.seq), coalesce(sum(d.rows), 0), min(d.seq) FROM upstream u"
                " LEFT JOIN delivery d ON d.upstream = u.id GROUP BY u.id ORDER BY u.name"
            ).fetchall()
            oldest = {
                name: db.execute("SELECT first_ns FROM block WHERE seq = ?", (seq,)).fetchone()
                for name, _, _, seq in waiting
            }
    except FAILURES as error:
        raise SpoolError(f"{path}: {error}") from error
    upstreams = {
        name: {"blocks": count, "readings": rows, "oldest": first[0] // 1_000_000 if (first := oldest[name]) else None}
        for name, count, rows, _ in waiting
    }
    return {"path": str(path), "bytes": (pages - free) * PAGE, "blocks": blocks, "upstreams": upstreams}


def blocks(path: Path) -> Iterator[Block | str]:
    """Every block in the file, oldest first; a text instead of one that can't be read. SpoolError."""
    query = (
        "SELECT b.seq, b.data, c.machine, c.dictionary, d.json FROM block b LEFT JOIN context c ON c.id = b.context"
        " LEFT JOIN dictionary d ON d.digest = c.dictionary ORDER BY b.seq"
    )
    tables: dict[str, TagTable] = {}
    try:
        with closing(_open(path)) as db:
            for seq, data, machine, digest, text in db.execute(query):
                try:
                    if digest not in tables:
                        tables[digest] = TagTable.from_json(text or b"")
                    yield record.decode(data, record.Context(tables[digest], machine))
                except (CodecError, ValueError) as error:
                    yield f"block {seq}: {error}"
    except FAILURES as error:
        raise SpoolError(f"{path}: {error}") from error


def event_of(event: bytes) -> dict[str, Any]:
    """A rendered event as an object."""
    found: dict[str, Any] = json.loads(event)
    return found
