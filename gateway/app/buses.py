"""The running sources, one task per bus: start, stop, replan; writes and traces find the source of their device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from gateway.config import Bus
from gateway.errors import WriteError
from gateway.field.contract import FieldContext, FieldPort, Loss, Source
from gateway.readings import Readings, TagTable
from gateway.runtime.supervise import end
from gateway.runtime.watchdog import Watchdog

_SILENT_TICKS: Final = 5
_SILENT_S: Final = 60.0


class _CountingPort:
    """A port that counts the calls with readings: the progress of one bus."""

    def __init__(self, port: FieldPort) -> None:
        self.calls = 0
        self._port = port

    def readings(self, readings: Readings) -> None:
        self.calls += 1
        self._port.readings(readings)

    def loss(self, loss: Loss) -> None:
        self._port.loss(loss)

    def link(self, device: str, online: bool, reason: str) -> None:  # the driver contract's own form
        self._port.link(device, online, reason)


class Buses:
    """Owns the tasks of all sources inside the application's task group."""

    def __init__(self, house: asyncio.TaskGroup, context: FieldContext, watchdog: Watchdog) -> None:
        self._house = house
        self._context = context
        self._watchdog = watchdog
        self._sources: dict[str, Source] = {}
        self._ports: dict[str, _CountingPort] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._homes: dict[str, str] = {}  # bus by device

    def start(self, bus: Bus, table: TagTable) -> None:
        """Open a bus and serve it from now on."""
        port = self._ports[bus.name] = _CountingPort(self._context.port)
        source = bus.driver.open(bus.plan(table), replace(self._context, port=port))
        self._sources[bus.name] = source
        self._settle(bus)
        self._tasks[bus.name] = self._house.create_task(source.run(), name=f"bus {bus.name}")

    def replan(self, bus: Bus, table: TagTable) -> None:
        """Change devices and tags of a running bus; devices that did not change miss no tick."""
        self._sources[bus.name].reconfigure(bus.plan(table))
        self._settle(bus)

    def _settle(self, bus: Bus) -> None:
        self._homes = {device: name for device, name in self._homes.items() if name != bus.name}
        self._homes.update(dict.fromkeys(bus.settings.devices, bus.name))
        if bus.driver.polled:
            port = self._ports[bus.name]
            silence = _SILENT_S + _SILENT_TICKS * min(bus.every.values())
            self._watchdog.watch(f"bus {bus.name}", lambda: port.calls, silence)

    async def stop(self, names: Iterable[str], timeout_s: float) -> None:
        """End buses and close their links; a link that won't close in time is left behind."""
        stopped = {name: self._tasks.pop(name) for name in names}
        for name in stopped:
            self._watchdog.forget(f"bus {name}")
        await end(stopped.values(), timeout_s)
        self._sources = {name: source for name, source in self._sources.items() if name in self._tasks}
        self._ports = {name: port for name, port in self._ports.items() if name in self._tasks}
        self._homes = {device: name for device, name in self._homes.items() if name in self._tasks}

    @property
    def names(self) -> tuple[str, ...]:
        """The buses that run."""
        return tuple(self._tasks)

    async def write(self, table: TagTable, tag: int, value: float | str) -> float | str:
        """Write an engineering value to a tag of the table; returns what was read back. WriteError."""
        source = self._source(table[tag].device)
        if source is None:
            raise WriteError("denied", "a computed tag can't be written")
        return await source.write(tag, value)

    def trace(self, device: str, sink: Callable[[str], None] | None) -> bool:
        """Switch a device's frame trace on or off; False where there is no such device."""
        source = self._source(device)
        if source is not None:
            source.trace(device, sink)
        return source is not None

    def _source(self, device: str) -> Source | None:
        return self._sources.get(self._homes.get(device, ""))
