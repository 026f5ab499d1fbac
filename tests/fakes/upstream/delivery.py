"""An upstream's view of a spool, in memory, and blocks to fill it with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np

from gateway.block import Block, BlockId, ClockStamp
from gateway.readings import Quality, Readings, Tag, TagTable

STAMP = ClockStamp("0" * 32, 0, synchronised=True)
START_NS = 1_732_258_800_123_000_000


class FakeDelivery:
    """Blocks in order, each offered once per epoch until acknowledged."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks: dict[BlockId, Block] = {}
        self._offered: set[BlockId] = set()
        self._more = asyncio.Event()
        self.acknowledged: list[BlockId] = []
        self.rewinds = 0
        for block in blocks:
            self.append(block)

    def append(self, block: Block) -> None:
        """A block was sealed."""
        self._blocks[block.id] = block
        self._more.set()

    async def next(self) -> Block:
        while True:
            for block in self._blocks.values():
                if block.id not in self._offered:
                    self._offered.add(block.id)
                    return block
            self._more.clear()
            await self._more.wait()

    def acknowledge(self, block: Block) -> None:
        assert block.id in self._blocks, f"{block.id} acknowledged twice"
        assert block.id in self._offered, f"{block.id} acknowledged without having been offered"
        del self._blocks[block.id]
        self.acknowledged.append(block.id)

    def rewind(self) -> None:
        self._offered.clear()
        self.rewinds += 1
        self._more.set()

    @property
    def backlog(self) -> int:
        return sum(len(block.readings) + len(block.events) for block in self._blocks.values())

    @property
    def left(self) -> list[BlockId]:
        """What is not yet acknowledged."""
        return list(self._blocks)


def plant(devices: int = 2, tags: int = 3) -> TagTable:
    """Devices d0, d1, ... with tags t0, t1, ... of type float64."""
    return TagTable(Tag(f"d{device}", f"t{tag}") for device in range(devices) for tag in range(tags))


def block(number: int, table: TagTable, rows: int = 6, *, boot: str = "9f2c61") -> Block:
    """A block whose readings take the table's tags in turn; every value is unique over all blocks."""
    index = np.arange(rows)
    readings = Readings(
        (index % len(table)).astype(np.uint32),
        START_NS + (number * rows + index) * 1_000_000,
        (number * rows + index) / 8.0,
        np.full(rows, Quality.GOOD, np.uint8),
    )
    return Block(BlockId(boot, number), table, readings, (), STAMP, START_NS)


def blocks(count: int, table: TagTable | None = None) -> FakeDelivery:
    """A delivery of the blocks 0, 1, ..., of two devices with three tags each where no table is given."""
    table = table or plant()
    return FakeDelivery(block(number, table) for number in range(count))


def event_block(number: int, *events: bytes, boot: str = "9f2c61") -> Block:
    """A block of events."""
    return Block(BlockId(boot, number), TagTable(), Readings.empty(), events, STAMP, START_NS)
