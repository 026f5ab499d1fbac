"""What arrived since the last seal, and the blocks it becomes. Pure: the caller passes every time."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.block import Block, BlockId, ClockStamp
from gateway.readings import Readings, TagTable


class Segment:
    """The open end of the spool. Blocks are numbered from 1 within this start of the daemon."""

    def __init__(self, boot: str, table: TagTable, max_readings: int) -> None:
        self.boot = boot
        self.table = table
        self.number = 0  # of the newest block
        self.rows = 0
        self.since: float | None = None  # loop time of the oldest arrival; None: nothing is open
        self._stamp: ClockStamp | None = None
        self._max_readings = max_readings
        self._parts: list[Readings] = []
        self._events: list[bytes] = []

    def add(self, readings: Readings, now: float, stamp: ClockStamp) -> bool:
        """Take readings; whether the segment is full."""
        self._open(now, stamp)
        self._parts.append(readings)
        self.rows += len(readings)
        return self.rows >= self._max_readings

    def add_event(self, event: bytes, now: float, stamp: ClockStamp) -> None:
        """Take a rendered event."""
        self._open(now, stamp)
        self._events.append(event)

    def _open(self, now: float, stamp: ClockStamp) -> None:
        if self.since is None:
            self.since, self._stamp = now, stamp

    def take(self, sealed_ns: int, stamp: ClockStamp) -> Iterator[Block]:
        """Close the segment. `stamp` is used where none was noted at the first arrival."""
        readings, events, clock = Readings.join(self._parts), tuple(self._events), self._stamp or stamp
        self._parts, self._events, self.rows, self.since, self._stamp = [], [], 0, None, None
        for start in range(0, len(readings), self._max_readings):
            part = readings.where(slice(start, start + self._max_readings))
            yield self._block(part, (), clock, sealed_ns)
        if events:
            yield self._block(Readings.empty(), events, clock, sealed_ns)

    def event_block(self, event: bytes, sealed_ns: int, stamp: ClockStamp) -> Block:
        """A block of one event, ahead of what is open."""
        return self._block(Readings.empty(), (event,), stamp, sealed_ns)

    def _block(self, readings: Readings, events: tuple[bytes, ...], clock: ClockStamp, sealed_ns: int) -> Block:
        self.number += 1
        return Block(BlockId(self.boot, self.number), self.table, readings, events, clock, sealed_ns)
