"""How late the event loop serves its timers: the one figure that tells whether the daemon keeps up."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

EVERY_S: Final = 1.0
KEPT: Final = 60


class LoopLag:
    """The worst lateness of the last minute, in seconds."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)

    @property
    def seconds(self) -> float:
        """The worst lateness kept."""
        return max(self._late, default=0.0)

    def note(self, late_s: float) -> None:
        """One timer was served this late."""
        self._late.append(max(0.0, late_s))

    async def run(self) -> None:
        """Measure once a second until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.note(loop.time() - due)
