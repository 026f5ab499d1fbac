"""The tables of the spool's database, and what one transaction may change.

    block       one row per block that somebody still needs; `data` as in record.py
    delivery    one row per (upstream, block) that is not acknowledged; a block without any is deleted
    context     machine boot and dictionary that blocks refer to     dictionary   tag tables by digest
    upstream    names                                                kept         small values of other stages

A later release may add tables and columns; it never changes what stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.block import Block
from gateway.readings import TagTable

VERSION: Final = 1
ALIVE: Final = "spool.alive"  # kept: UTC ns up to which everything is acknowledged, stored or told as lost
CLEAN: Final = "spool.clean"  # kept: b"1" after a stop in order
LEDGER: Final = "spool.losses"  # kept: losses that no event in the file tells
PAGE: Final = 4096
PRAGMAS: Final = (
    f"PRAGMA page_size={PAGE}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",  # NORMAL may lose the last commits in a power cut
    "PRAGMA secure_delete=OFF",  # on, each delete writes zeros
    "PRAGMA wal_autocheckpoint=200",
    "PRAGMA journal_size_limit=1048576",
)
TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS block(seq INTEGER PRIMARY KEY, rows INTEGER NOT NULL, first_ns INTEGER NOT NULL,"
    " level INTEGER NOT NULL, context INTEGER NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS delivery(upstream INTEGER NOT NULL, seq INTEGER NOT NULL, rows INTEGER NOT NULL,"
    " PRIMARY KEY(upstream, seq)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS context(id INTEGER PRIMARY KEY, machine TEXT NOT NULL, dictionary TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS dictionary(digest TEXT PRIMARY KEY, json BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS upstream(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS kept(key TEXT PRIMARY KEY, value BLOB NOT NULL, until_ns INTEGER) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A block as read from the database; `block` is None where it is damaged or of a later release (`newer`)."""

    seq: int
    rows: int
    first_ns: int
    block: Block | None
    newer: bool = False
    level: int = 0  # how often it was thinned
    size: int = 0  # bytes of its record
    pending: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    """A block to store, and who needs it."""

    seq: int
    block: Block
    pending: frozenset[str]
    data: bytes  # its record
    level: int = 0
    less: int = 0  # readings that went when it was thinned

    @property
    def size(self) -> int:
        """Bytes it takes in the file, at most: a row that doesn't fit into its page goes on in pages of its own."""
        length = len(self.data) + 64
        return length if length < PAGE // 2 else (length // (PAGE - 4) + 2) * PAGE


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction: first what goes, then what comes."""

    delete: Sequence[int] = ()
    acked: Mapping[str, Sequence[int]] = field(default_factory=dict)  # by upstream
    rewrite: Sequence[Insert] = ()  # takes the place of what has the same number
    insert: Sequence[Insert] = ()
    keep: Mapping[str, bytes | None] = field(default_factory=dict)  # None: forget the key
    until: Mapping[str, int] = field(default_factory=dict)  # UTC ns when a kept key may go; others stay for good
    expired_ns: int = 0  # kept keys that ran out before this go
    untold: bytes = b""  # the ledger before `insert` told of it, for a device where that doesn't fit


@dataclass(frozen=True, slots=True)
class Opener:
    """What the daemon says that opens the file."""

    now_ns: int
    upstreams: frozenset[str]
    table: TagTable  # in force: what the file says of it may be damaged
    alive_ns: int | None = None  # opened again: up to then everything is acknowledged, stored or told as lost
    forgotten: Sequence[tuple[str, int]] = ()  # upstreams that left, with the newest block at that time


@dataclass(frozen=True, slots=True)
class Usage:
    """What the database holds after a transaction."""

    bytes: int
    blocks: int
    oldest_ns: Mapping[str, int]  # reading time of the oldest block by upstream


@dataclass(frozen=True, slots=True)
class Opening:
    """What an opened database says about the time before."""

    usage: Usage
    last_seq: int  # 0 where it is empty
    backlog: Mapping[str, int]  # readings by upstream
    ledger: bytes  # losses that are to be told, as they stand in the file now
    news: bytes = b""  # those of them that came with the damage
    damage: str = ""  # what was wrong with the file; empty where nothing was
    aside: str = ""  # where the damaged file went
    lost: int = 0  # readings known to have stood in it that could not be saved
    left: Mapping[str, int] = field(default_factory=dict)  # readings dropped with upstreams that nobody took over from
