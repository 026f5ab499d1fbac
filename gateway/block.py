"""What the spool hands to an upstream: sealed blocks with an identity, and the order to offer and drop them.

append -> seal -> Block -> Delivery.next() -> messages -> PUBACKs -> Delivery.acknowledge()
                               ^-- Delivery.rewind() when the connection's epoch is over
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.readings import Readings, TagTable


@dataclass(frozen=True, slots=True)
class ClockStamp:
    """Which clock a block's times were taken with."""

    machine_boot: str  # the kernel's boot_id, without dashes
    offset_ns: int  # UTC minus CLOCK_BOOTTIME
    synchronised: bool


class BlockId(NamedTuple):
    """A block's identity within its gateway: the daemon's start that made it (6 hex digits), and its number there."""

    boot: str
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Readings or events that left the pipeline together; never changed once sealed.

    Readings stand in arrival order. `events` are rendered JSON objects as in wire.md; a block holds readings or
    events, never both. `table` is the dictionary in force when the block was sealed, so a block outlives any
    change of the configuration.
    """

    id: BlockId
    table: TagTable
    readings: Readings
    events: tuple[bytes, ...]
    clock: ClockStamp
    sealed_ns: int  # UTC when it was sealed


class Delivery(Protocol):
    """One upstream's view of the spool: its own position and acknowledgements."""

    async def next(self) -> Block:
        """The next block to send, in `spool.drain` order; waits for one. Each is offered once per epoch."""

    def acknowledge(self, block: Block) -> None:
        """Every message of the block was accepted in the running epoch: this upstream needs it no more."""

    def rewind(self) -> None:
        """The epoch is over: everything unacknowledged will be offered again, in order."""

    @property
    def backlog(self) -> int:
        """Readings not yet acknowledged by this upstream."""
