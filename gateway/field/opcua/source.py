"""One OPC UA connection: a session, and in it a task per device that subscribes or polls.

supervise --> session --> Feed of each device --> readings
A reload stops and starts only the devices that changed; the session stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.errors import WriteError
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.devices import Devices
from gateway.field.opcua.feed import Feed
from gateway.field.opcua.poll import poll
from gateway.field.opcua.session import Session, open_session
from gateway.field.opcua.settings import OpcuaConnection
from gateway.field.opcua.subscribe import subscribe
from gateway.field.opcua.write import write_value
from gateway.field.together import link_group
from gateway.runtime.supervise import Link, supervise

log = logging.getLogger(__name__)


class OpcuaSource:
    """The source of one server."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self._plan, self._context = plan, context
        self._settings: OpcuaConnection = plan.connection
        self._devices: Devices | None = None
        self._feeds: dict[str, Feed] = {}
        self._session: Session | None = None
        self._replanned = asyncio.Event()

    async def run(self) -> None:
        """Serve the server until cancelled."""
        if self._settings.exposed:
            text = "%s: values come unencrypted: who is on the way can read and forge them (no security:)"
            log.warning(text, self._plan.name, extra={"link": self._plan.name})
        devices = self._devices = Devices(self._plan, self._context, asyncio.get_running_loop().time())
        self._adopt(set(devices))
        async with asyncio.TaskGroup() as group:
            group.create_task(devices.run())
            await supervise(self._plan.name, self._connected)

    async def write(self, tag: int, value: float | str) -> float | str:
        """Write a node in its own data type and read it back."""
        if self._plan.table[tag].write is None:
            raise WriteError("denied", f"{self._plan.table[tag].full_name} can't be written")
        if self._session is None:
            raise WriteError("failed", "the server is not connected")
        return await write_value(self._session, self._plan.table[tag], value, self._settings.timeout)

    def reconfigure(self, plan: BusPlan) -> None:
        """Take over other devices; unchanged ones keep their subscription."""
        self._plan = plan
        if self._devices is not None:
            self._adopt(self._devices.update(plan))
            self._replanned.set()

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """A text per answer of one device."""
        if device in self._feeds:
            self._feeds[device].device.sink = sink

    def _adopt(self, changed: set[str]) -> None:
        self._feeds = {
            name: self._feeds[name] if name in self._feeds and name not in changed else Feed(device, self._context)
            for name, device in (self._devices or {}).items()
        }

    async def _connected(self, link: Link) -> None:
        assert self._devices is not None  # noqa: S101  # made in run()
        with self._devices.outage():
            async with open_session(self._settings) as session:
                self._devices.connected()
                self._session = session
                try:
                    await self._serve(session, link)
                finally:
                    self._session = None

    async def _serve(self, session: Session, link: Link) -> None:
        """Keep one task per feed; a feed that is no longer there is stopped, a new one started."""
        running: dict[Feed, asyncio.Task[None]] = {}
        async with link_group() as group:
            while True:
                self._replanned.clear()
                wanted = list(self._feeds.values())
                for feed in [feed for feed in running if feed not in wanted]:
                    running.pop(feed).cancel()
                for feed in wanted:
                    if feed not in running:
                        feed.link = link
                        serve = subscribe if feed.settings.mode == "subscribe" else poll
                        running[feed] = group.create_task(serve(session, feed))
                await self._replanned.wait()
