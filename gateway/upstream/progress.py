"""Which messages of which blocks are done. Pure.

An index of a message means something only while its block is cut the same way: what is remembered carries the number
of readings of each message (its shape), and another shape starts from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.block import Block, BlockId
from gateway.upstream.message import Message

REMEMBERED: Final = 10_000  # blocks of which single messages are known to be done, beyond those in work


@dataclass(slots=True, eq=False)
class Work:
    """A block on its way. `left` counts its messages that are not done, `shed` those of them that nobody keeps."""

    block: Block
    shape: list[int]
    done: bytearray
    left: int
    shed: int = 0
    weighed: bool = False

    def weigh(self) -> int:
        """Bytes the block keeps alive, the first time it is asked; then 0, since it is there only once."""
        if self.weighed:
            return 0
        self.weighed = True
        readings = self.block.readings
        columns = readings.tag.nbytes + readings.time_ns.nbytes + readings.value.nbytes + readings.quality.nbytes
        return columns + sum(map(len, readings.texts.values())) + sum(map(len, self.block.events))


@dataclass(slots=True, eq=False)
class Item:
    """One message of a block, or (without work) one beside the blocks. `order` grows with every item."""

    message: Message
    order: int
    work: Work | None = None
    index: int = 0


class Progress:
    """The blocks of one epoch, and what is known of others from earlier ones."""

    def __init__(self) -> None:
        self._work: dict[BlockId, Work] = {}
        self._known: dict[BlockId, tuple[list[int], bytes]] = {}
        self._order = 0

    def __contains__(self, block: BlockId) -> bool:
        return block in self._work

    def __len__(self) -> int:
        return len(self._work)

    def single(self, message: Message) -> Item:
        """An item for a message beside the blocks."""
        self._order += 1
        return Item(message, self._order)

    def start(self, block: Block, messages: Sequence[Message]) -> list[Item]:
        """Take a block into work: an item for each message that is not done yet; none: the block is delivered."""
        shape = [message.readings for message in messages]
        known = self._known.pop(block.id, None)
        done = bytearray(known[1] if known is not None and known[0] == shape else bytes(len(messages)))
        left = done.count(0)
        if not left:
            return []
        work = self._work[block.id] = Work(block, shape, done, left)
        items = []
        for index, message in enumerate(messages):
            if not done[index]:
                item = self.single(message)
                item.work, item.index = work, index
                items.append(item)
        return items

    def done(self, item: Item) -> Block | None:
        """The item's message was accepted; its block, where it was the last one."""
        work = item.work
        if work is None:
            return None
        work.done[item.index] = 1
        work.left -= 1
        if work.left == 0:
            del self._work[work.block.id]
            return work.block
        self._settle(work)
        return None

    def shed(self, item: Item) -> None:
        """The item's message isn't kept here; its block, once nothing else of it is on its way, may come again."""
        if item.work is not None:
            item.work.shed += 1
            self._settle(item.work)

    def end_epoch(self) -> None:
        """Nothing is on its way any more."""
        for work in self._work.values():
            self._remember(work)
        self._work.clear()

    def _settle(self, work: Work) -> None:
        if work.left == work.shed:
            del self._work[work.block.id]
            self._remember(work)

    def _remember(self, work: Work) -> None:
        if any(work.done):
            self._known[work.block.id] = (work.shape, bytes(work.done))
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
