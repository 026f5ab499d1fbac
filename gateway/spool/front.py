"""The memory front: sealed blocks that are not on disk, by sequence number. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.block import Block

BLOCK_BYTES: Final = 1500  # what a block costs beside its columns
ROW_BYTES: Final = 4 + 8 + 8 + 1


@dataclass(slots=True, eq=False)
class Entry:
    """A block, who still needs it, and since when its oldest reading waits (loop time, seconds)."""

    seq: int
    block: Block
    pending: frozenset[str]
    arrived: float
    storing: bool = False  # on its way to the disk
    held: bool = False  # not offered before it is on the disk
    level: int = 0  # how often it was thinned


def weight(block: Block) -> int:
    """Bytes a block takes in memory, about."""
    texts = sum(len(text) + 100 for text in block.readings.texts.values())
    return BLOCK_BYTES + len(block.readings) * ROW_BYTES + texts + sum(map(len, block.events))


class Front:
    """Blocks in the order they were sealed; the dictionary keeps it, since numbers only grow."""

    def __init__(self) -> None:
        self.bytes = 0
        self._entries: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Take a newly sealed block."""
        self._entries[entry.seq] = entry
        self.bytes += weight(entry.block)

    def get(self, seq: int) -> Entry | None:
        """The block of a number, if it is here."""
        return self._entries.get(seq)

    def thin(self, entry: Entry, block: Block) -> None:
        """What stays of a block takes its place."""
        self.bytes += weight(block) - weight(entry.block)
        entry.block, entry.level = block, entry.level + 1

    def remove(self, seq: int) -> Entry | None:
        """Let go of a block."""
        entry = self._entries.pop(seq, None)
        if entry is not None:
            self.bytes -= weight(entry.block)
        return entry

    def first(self) -> Entry | None:
        """The oldest block."""
        return next(iter(self._entries.values()), None)
