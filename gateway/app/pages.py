"""The status server's task: started, stopped and started anew when its settings change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from gateway.runtime.status.view import View
from gateway.runtime.supervise import end, supervise


class Pages:
    """Owns the status server inside the application's task group; a taken port never stops the daemon."""

    def __init__(self, house: asyncio.TaskGroup, view: View, refused: Callable[[str], None]) -> None:
        self._house = house
        self._view = view
        self._refused = refused  # called with the address a wrong token came from
        self._task: asyncio.Task[None] | None = None

    def use(self, settings: StatusSettings) -> None:
        """Serve by these settings from now on."""
        server = StatusServer(settings, self._view, refused=self._refused)
        self._task = self._house.create_task(supervise("status page", server.run), name="status page")

    async def stop(self, timeout_s: float) -> None:
        """End the server."""
        if self._task is not None:
            await end([self._task], timeout_s)
            self._task = None
