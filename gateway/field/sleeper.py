"""A sleep that can be cut short."""

from __future__ import annotations

import asyncio


class Sleeper:
    """For one task at a time."""

    def __init__(self) -> None:
        self._sleep: asyncio.Future[None] | None = None

    async def until(self, deadline: float) -> None:
        """Return at an instant of `loop.time()`, or once `wake` is called; infinity waits for that alone."""
        loop = asyncio.get_running_loop()
        self._sleep = loop.create_future()
        timer = loop.call_at(deadline, self.wake) if deadline != float("inf") else None
        try:
            await self._sleep
        finally:
            self._sleep = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """End the sleep, if there is one."""
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)
