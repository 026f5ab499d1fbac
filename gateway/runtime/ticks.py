"""A drift-free grid on the event loop's monotonic clock: slot k is due at `start + k * period`."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass


def phase(name: str, period_s: float) -> float:
    """A stable offset in [0, period) from a name, so that equal periods don't all fall due at once."""
    digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / (1 << 32) * period_s


@dataclass(slots=True)
class Grid:
    """One period's slots. Pure: the caller passes the time (seconds of `loop.time()`)."""

    start: float
    period_s: float
    slot: int = 0  # the next slot to serve

    @property
    def due(self) -> float:
        """When the next slot is due."""
        return self.start + self.slot * self.period_s

    def take(self, now: float) -> tuple[float, int]:
        """Serve the newest slot that is due at `now`: its time, and how many older ones were missed.

        Rule: `now >= due`. Missed slots are never bunched: they are counted once and gone.
        """
        newest = self.slot + max(0, int((now - self.due) // self.period_s))
        missed = newest - self.slot
        self.slot = newest + 1
        return self.start + newest * self.period_s, missed


async def until(deadline: float) -> None:
    """Sleep until `loop.time()` reaches `deadline`."""
    delay = deadline - asyncio.get_running_loop().time()
    await asyncio.sleep(max(0.0, delay))
