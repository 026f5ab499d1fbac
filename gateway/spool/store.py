"""Blocks in the spool's database: plain blocking calls for the disk's thread.

Sequence numbers outside count from 1 in each start of the daemon, blocks of earlier starts have numbers below 1; so
they are known before the file is. Inside they are shifted by the highest number found when it was first opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway.block import Block
from gateway.errors import CodecError
from gateway.readings import TagTable
from gateway.spool import record
from gateway.spool.ballast import Ballast
from gateway.spool.database import Database, FullError, translated
from gateway.spool.schema import LEDGER, Changes, Insert, Stored, Usage

READ_BLOCKS: Final = 256
READ_ROWS: Final = 20_000
_COLUMNS: Final = "b.seq, b.rows, b.first_ns, b.level, b.context, b.data"


class Store(Database):
    """The blocks of one file, and who still needs them."""

    def __init__(self, path: Path, ballast: Ballast | None = None) -> None:
        super().__init__(path, ballast)
        self.shift: int | None = None  # number inside = number outside + shift
        self._blocks = 0
        self._upstreams: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._contexts: dict[tuple[str, str], int] = {}
        self._known: dict[int, record.Context] = {}

    def connect(self) -> None:
        """See `Database.connect`."""
        super().connect()
        last = self._last()
        if last == 0:
            with self.transaction() as db:
                db.execute("DELETE FROM context")
                db.execute("DELETE FROM dictionary")
        self.reload()
        if self.shift is None:
            self.shift = last

    def reload(self) -> None:
        """Read the small tables again."""
        with translated():
            self._committed = {name: key for key, name in self.db.execute("SELECT id, name FROM upstream")}
            self._forget_uncommitted()
            (self._blocks,) = self.db.execute("SELECT count(DISTINCT seq) FROM delivery").fetchone()

    def _last(self) -> int:
        with translated():
            last: int = self.db.execute("SELECT coalesce(max(seq), 0) FROM block").fetchone()[0]
        return last

    # reading

    def read(self, upstream: str, after: int, last: int) -> list[Stored]:
        """The next unacknowledged blocks of an upstream with after < seq <= last; empty where there is none.

        Who else needs a block is looked up only where it is damaged.
        """
        key, shift = self._upstreams.get(upstream), self.shift or 0
        if key is None:
            return []
        query = (
            "SELECT b.seq, d.rows, b.first_ns, b.level, b.context, b.data FROM delivery d JOIN block b ON b.seq = d.seq"
            " WHERE d.upstream = ? AND d.seq > ? AND d.seq <= ? ORDER BY d.seq LIMIT ?"
        )
        with translated():
            cursor = self.db.execute(query, (key, after + shift, last + shift, READ_BLOCKS))
            found, rows = [], 0
            for row in cursor:
                stored = self._stored(row)
                if stored.block is None:
                    stored = replace(stored, pending=self._needed_by(row[0]))
                found.append(stored)
                rows += stored.rows
                if rows >= READ_ROWS:
                    break
            return found

    def oldest(
        self, size: int, after: int, protected: frozenset[int], between_ns: tuple[int, int] | None = None
    ) -> list[Stored]:
        """The oldest blocks with seq > after, together at least `size` bytes, without the protected ones.

        With `between_ns` only those whose oldest reading lies there, up to the first one that is younger.
        """
        shift = self.shift or 0
        query = f"SELECT {_COLUMNS} FROM block b WHERE b.seq > ? ORDER BY b.seq"  # noqa: S608  # constants only
        found, total = [], 0
        with translated():
            for row in self.db.execute(query, (after + shift,)):
                if row[0] - shift in protected:
                    continue
                stored = self._stored(row, self._needed_by(row[0]))
                if between_ns is not None and stored.first_ns >= between_ns[1]:
                    break
                if stored.newer or (between_ns is not None and stored.first_ns < between_ns[0]):
                    continue
                found.append(stored)
                total += stored.size
                if total >= size:
                    break
        return found

    def _needed_by(self, inside: int) -> frozenset[str]:
        query = "SELECT 1 FROM delivery WHERE upstream = ? AND seq = ?"
        return frozenset(
            name for name, key in self._upstreams.items() if self.db.execute(query, (key, inside)).fetchone()
        )

    def _stored(self, row: tuple[Any, ...], pending: frozenset[str] = frozenset()) -> Stored:
        inside, rows, first_ns, level, context, data = row
        seq = inside - (self.shift or 0)
        if not (isinstance(data, bytes) and all(isinstance(field, int) for field in (rows, first_ns, level, context))):
            return Stored(seq, rows if isinstance(rows, int) else 0, 0, None, pending=pending)
        block, newer = None, record.is_newer(data)
        if not newer:
            try:
                block = record.decode(data, self.context(context), quickly=True)
            except CodecError:
                block = None
        return Stored(seq, rows, first_ns, block, newer, level, len(data), pending)

    def context(self, key: int) -> record.Context:
        """What a block's context number means; CodecError where that is damaged."""
        known = self._known.get(key)
        if known is None:
            query = "SELECT c.machine, c.dictionary, d.json FROM context c JOIN dictionary d ON d.digest = c.dictionary"
            row = self.db.execute(query + " WHERE c.id = ?", (key,)).fetchone()
            try:
                table = TagTable.from_json(row[2]) if row is not None else None
            except ValueError as error:
                raise CodecError("its dictionary is damaged") from error
            if table is None or table.digest != row[1]:
                raise CodecError("its dictionary is missing or damaged")
            known = self._known[key] = record.Context(table, row[0])
        return known

    # writing

    def apply(self, changes: Changes) -> Usage:
        """Make the changes in one transaction; on a full device what goes may go in one of its own (see FullError)."""
        try:
            self._transact(changes)
        except FullError:
            comes = bool(changes.insert or changes.rewrite)
            if comes and not (changes.delete or changes.acked):
                raise
            # Deleting and the checkpoint need space too: the ballast gives it, and what comes must not use it up.
            self.ballast.release()
            try:
                keep = {LEDGER: changes.untold or None} if comes else changes.keep
                self._transact(replace(changes, rewrite=(), insert=(), keep=keep))
                self.checkpoint()
            finally:
                self.ballast.restore()
            if comes:
                self._come(changes)
        return self.usage()

    def _come(self, changes: Changes) -> None:
        try:
            self._transact(replace(changes, delete=(), acked={}))
        except FullError as error:
            error.usage = self.usage()
            raise

    def _transact(self, changes: Changes) -> None:
        with self.transaction() as db:
            blocks = self._blocks - self._delete(changes.delete)
            self._delete([insert.seq for insert in changes.rewrite])
            for name, seqs in changes.acked.items():
                blocks -= self._acknowledge(name, seqs)
            for insert in (*changes.rewrite, *changes.insert):
                self._insert(insert)
            blocks += len(changes.insert)
            for key, value in changes.keep.items():
                if value is None:
                    db.execute("DELETE FROM kept WHERE key = ?", (key,))
                else:
                    db.execute("INSERT OR REPLACE INTO kept VALUES(?, ?, ?)", (key, value, changes.until.get(key)))
            if changes.expired_ns:
                db.execute("DELETE FROM kept WHERE until_ns < ?", (changes.expired_ns,))
        self._blocks = blocks

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """See `Database.transaction`; what is remembered of the small tables follows it."""
        try:
            with super().transaction() as db:
                yield db
        except BaseException:
            self._forget_uncommitted()
            raise
        self._committed = dict(self._upstreams)

    def _forget_uncommitted(self) -> None:
        self._contexts.clear()
        self._known.clear()
        self._upstreams = dict(self._committed)

    def _delete(self, seqs: Sequence[int]) -> int:
        shift = self.shift or 0
        gone = self.db.executemany("DELETE FROM block WHERE seq = ?", ((seq + shift,) for seq in seqs)).rowcount
        for key in self._upstreams.values():
            self.db.executemany("DELETE FROM delivery WHERE upstream = ? AND seq = ?", ((key, s + shift) for s in seqs))
        return max(0, gone)

    def _acknowledge(self, name: str, seqs: Sequence[int]) -> int:
        key, shift = self._upstreams.get(name), self.shift or 0
        if key is None:
            return 0
        self.db.executemany("DELETE FROM delivery WHERE upstream = ? AND seq = ?", ((key, s + shift) for s in seqs))
        others = ",".join(str(other) for other in self._upstreams.values())
        needed = f"SELECT 1 FROM delivery WHERE upstream IN ({others}) AND seq = ?1"  # noqa: S608  # our own integers
        query = f"DELETE FROM block WHERE seq = ?1 AND NOT EXISTS ({needed})"  # noqa: S608  # our own integers
        return max(0, self.db.executemany(query, ((seq + shift,) for seq in seqs)).rowcount)

    def _insert(self, insert: Insert) -> None:
        block, inside = insert.block, insert.seq + (self.shift or 0)
        rows = len(block.readings)
        first_ns = int(block.readings.time_ns.min()) if rows else block.sealed_ns
        row = (inside, rows, first_ns, insert.level, self._context_key(block), insert.data)
        self.db.execute("INSERT OR REPLACE INTO block VALUES(?, ?, ?, ?, ?, ?)", row)
        for name in sorted(insert.pending):
            self.db.execute("INSERT OR REPLACE INTO delivery VALUES(?, ?, ?)", (self._upstream_key(name), inside, rows))

    def _upstream_key(self, name: str) -> int:
        key = self._upstreams.get(name)
        if key is None:
            key = self.db.execute("INSERT INTO upstream(name) VALUES(?) RETURNING id", (name,)).fetchone()[0]
            self._upstreams[name] = key
        return key

    def _context_key(self, block: Block) -> int:
        digest, machine = block.table.digest, block.clock.machine_boot
        key = self._contexts.get((machine, digest))
        if key is None:
            db = self.db
            found = db.execute(
                "SELECT id FROM context WHERE machine = ? AND dictionary = ?", (machine, digest)
            ).fetchone()
            self._store_dictionary(block.table)
            if found is None:
                insert = "INSERT INTO context(machine, dictionary) VALUES(?, ?) RETURNING id"
                found = db.execute(insert, (machine, digest)).fetchone()
            key = self._contexts[machine, digest] = found[0]
        return key

    def mend(self, table: TagTable) -> None:
        """Store the dictionary in force in place of what the file holds: one flipped bit there costs all blocks."""
        with self.transaction():
            self._store_dictionary(table)
        self._known.clear()

    def _store_dictionary(self, table: TagTable) -> None:
        self.db.execute("INSERT OR REPLACE INTO dictionary VALUES(?, ?)", (table.digest, table.to_json()))

    # size

    def usage(self) -> Usage:
        """Bytes in use, and the oldest block of each upstream."""
        query = "SELECT b.first_ns FROM delivery d JOIN block b USING(seq) WHERE d.upstream = ? ORDER BY d.seq LIMIT 1"
        with translated():
            oldest = {name: self.db.execute(query, (key,)).fetchone() for name, key in self._upstreams.items()}
        return Usage(self.bytes_used(), self._blocks, {n: row[0] for n, row in oldest.items() if row is not None})

    def last_outside(self) -> int:
        """The highest number in the file, counted as outside."""
        return self._last() - (self.shift or 0)
