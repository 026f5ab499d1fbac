"""The running upstreams, one task each: start, stop, drain; device links are told to all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from gateway.config import Configuration
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.runtime.supervise import end
from gateway.runtime.watchdog import Watchdog
from gateway.spool.spool import Spool
from gateway.upstream.commands import Commands
from gateway.upstream.identity import Identity
from gateway.upstream.select import selected
from gateway.upstream.upstream import SILENT_S, Upstream


class Senders:
    """Owns the tasks of all upstreams inside the application's task group."""

    def __init__(
        self,
        house: asyncio.TaskGroup,
        spool: Spool,
        clock: Clock,
        counters: Counters,
        latest: Latest,
        commands: Commands,
        current: Callable[[], TagTable],
        watchdog: Watchdog,
    ) -> None:
        self._house = house
        self._spool = spool
        self._clock = clock
        self._counters = counters
        self._latest = latest
        self._commands = commands
        self._current = current
        self._watchdog = watchdog
        self._drain = asyncio.Event()
        self._upstreams: dict[str, Upstream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, configuration: Configuration, name: str, identity: Identity) -> None:
        """Open an upstream and deliver to it from now on."""
        settings = configuration.root.upstreams[name]
        chosen = None if settings.select is None else partial(selected, settings.select)
        self._spool.select(name, chosen)
        upstream = Upstream(
            name,
            settings,
            identity,
            self._spool.delivery(name),
            self._current(),
            self._latest,
            self._clock,
            self._counters,
            self._commands,
            memory=self._spool,
        )
        for device, counters in self._counters.devices.items():
            if counters.since_ns:
                upstream.link(device, counters.up, counters.reason, counters.since_ns)
        self._upstreams[name] = upstream
        self._tasks[name] = self._house.create_task(upstream.run(self._drain), name=f"upstream {name}")
        self._watchdog.watch(f"upstream {name}", lambda: upstream.progress, SILENT_S)

    def link(self, device: str, online: bool, reason: str, since_ns: int) -> None:  # as the field says it
        """A device's link went up or down."""
        for upstream in self._upstreams.values():
            upstream.link(device, online, reason, since_ns)

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table."""
        for upstream in self._upstreams.values():
            upstream.use_table(table)

    async def stop(self, names: Iterable[str], timeout_s: float) -> None:
        """End upstreams at once; what they did not deliver stays in the spool."""
        stopped = {name: self._tasks.pop(name) for name in names}
        for name in stopped:
            self._watchdog.forget(f"upstream {name}")
        await end(stopped.values(), timeout_s)
        self._upstreams = {name: upstream for name, upstream in self._upstreams.items() if name in self._tasks}

    async def drain(self, timeout_s: float) -> None:
        """Deliver what is there and end; what is left after the timeout stays in the spool."""
        self._drain.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)
        await self.stop(list(self._tasks), timeout_s=3.0)
