"""A block that ends every connection: a broker that closes on a large message without ever naming its limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.block import BlockId

TIMES: Final = 3
SMALLEST: Final = 1024
HOLD_S: Final = 600.0


@dataclass(slots=True)
class Suspicion:
    """Halves the message limit when three connections in a row died on the same first block, then sets it aside."""

    limit: int  # bytes of a message; only ever falls
    _block: BlockId | None = None
    _times: int = 0
    _held: dict[BlockId, float] = field(default_factory=dict)

    def ended(self, block: BlockId | None, limit: int, now: float) -> str:
        """A connection ended on this block (None: not by a block's fault); what was decided, for people."""
        if block is None or block != self._block:
            self._block, self._times = block, 1
            return ""
        self._times += 1
        if self._times < TIMES:
            return ""
        self._block, self._times = None, 0
        if limit > SMALLEST:
            self.limit = max(limit // 2, SMALLEST)
            return f"the broker closes on block {block.number}: messages are cut to {self.limit} bytes"
        self._held[block] = now + HOLD_S
        return f"the broker closes on block {block.number} of {block.boot}: it waits, others go on"

    def holds(self, block: BlockId, now: float) -> bool:
        """Whether the block is set aside at present."""
        until = self._held.get(block)
        if until is not None and until <= now:
            del self._held[block]
            return False
        return until is not None
