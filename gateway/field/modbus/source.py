"""One Modbus bus at work: stations on a session, served by the scheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.errors import WriteError
from gateway.field.bus import Bus
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.modbus.device import Device, places
from gateway.field.modbus.mbap import open_pipelined
from gateway.field.modbus.memory import Memory
from gateway.field.modbus.session import Session
from gateway.field.modbus.settings import ModbusConnection, ModbusRtu, ModbusTcp
from gateway.field.modbus.station import ModbusStation
from gateway.field.modbus.wire import Listener, Wire
from gateway.field.modbus.write import Writer
from gateway.field.stations import Station

log = logging.getLogger(__name__)

_LATE_LOG_S: Final = 60.0
_PATIENCE_S: Final = 2.0  # a write waits at least that long for its turn

Opener = Callable[[Any, Listener], Awaitable[Wire]]


class ModbusSource:
    """See `gateway.field.contract.Source`."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self._plan = plan
        self._context = context
        self._traffic = _Traffic(plan, context)
        self._session = Session(self._open, reopens=isinstance(plan.connection, ModbusTcp))
        self._stations = self._build(plan)
        self._writers: dict[str, Writer] = {}
        self._bus = Bus(plan.name, context, self._session.link, self._stations.values())

    async def run(self) -> None:
        """Serve the bus until cancelled."""
        await self._bus.run()

    async def _open(self) -> Wire:
        settings: ModbusConnection = self._plan.connection
        # Imported where a bus is opened: a gateway without Modbus doesn't pay for pymodbus.
        from gateway.field.modbus import client  # noqa: PLC0415

        if isinstance(settings, ModbusRtu):
            return await client.open_serial(settings, self._traffic)
        if isinstance(settings, ModbusTcp):
            if any(device.in_flight > 1 for device in settings.devices.values()):
                return await open_pipelined(settings, self._traffic)
            return await client.open_tcp(settings, self._traffic)
        return await client.open_rtu_tcp(settings, self._traffic)

    def _build(self, plan: BusPlan) -> dict[str, ModbusStation]:
        settings: ModbusConnection = plan.connection
        stations = {}
        for name, device_settings in settings.devices.items():
            device = Device(
                name, device_settings, places(plan, name), settings.timeout, _memory(self._context.state, plan, name)
            )
            if isinstance(settings, ModbusRtu):
                device.on_line(settings.timing().worthwhile_gap())
            stations[name] = ModbusStation(device, plan.every[name], self._session, self._context)
        return stations

    async def write(self, tag: int, value: float | str) -> float | str:
        """Write an engineering value; returns the value read back."""
        entry = self._plan.table[tag]
        station = self._stations.get(entry.device)
        place = None if station is None else station.model.places.get(tag)
        if station is None or place is None:
            raise WriteError("unknown_tag", f"{entry.full_name} is not on this bus")
        if entry.write is None:
            raise WriteError("denied", f"{entry.full_name} can't be written")
        writer = self._writers.setdefault(station.device, Writer(station))
        patience_s = max(_PATIENCE_S, 3 * station.model.timeout_s)
        return await self._bus.write(station.device, partial(writer.write, entry, place, value), patience_s)

    def reconfigure(self, plan: BusPlan) -> None:
        """Take over a new plan; unchanged devices go on as they are."""
        old, fresh = self._stations, self._build(plan)
        self._plan = plan
        self._traffic.plan = plan
        self._stations = {}
        self._writers = {}
        for name, station in fresh.items():
            before = old.get(name)
            if before is not None and _equal(before, station):
                before.model.retest()
                self._stations[name] = before
            else:
                self._stations[name] = station
        self._bus.replace(self._stations.values(), _same)

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """Send a line per frame of one device to `sink`; None switches it off."""
        self._traffic.watch(device, sink)


def _same(old: Station, new: Station) -> bool:
    return old is new


def _equal(old: ModbusStation, new: ModbusStation) -> bool:
    return (
        old.period_s == new.period_s
        and old.model.settings == new.model.settings
        and list(old.model.places) == list(new.model.places)
    )


def _memory(state: Path | None, plan: BusPlan, device: str) -> Memory | None:
    settings: ModbusConnection = plan.connection
    host = "" if isinstance(settings, ModbusRtu) else settings.host
    whose = f"{settings.driver} {host}:{settings.port} unit {settings.devices[device].unit}"
    return None if state is None else Memory(state / f"modbus-{device}.json", whose)


class _Traffic:
    """What goes by on the link that is no answer: late frames are counted, traced frames handed to their sinks."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self.plan = plan
        self._context = context
        self._sinks: dict[str, Callable[[str], None]] = {}
        self._logged: dict[int, float] = {}

    @property
    def tracing(self) -> bool:
        """Whether any device is watched."""
        return bool(self._sinks)

    def watch(self, device: str, sink: Callable[[str], None] | None) -> None:
        """Switch the trace of a device on or off."""
        if sink is None:
            self._sinks.pop(device, None)
        else:
            self._sinks[device] = sink

    def _devices(self, unit: int) -> list[str]:
        return [name for name, device in self.plan.connection.devices.items() if device.unit == unit]

    def late(self, unit: int, seconds: float, timeout_s: float) -> None:
        """A unit answered after its timeout."""
        names = self._devices(unit)
        for name in names:
            self._context.counters.device(name).errors["late"] += 1
        now = time.monotonic()
        if now - self._logged.get(unit, -_LATE_LOG_S) >= _LATE_LOG_S:
            self._logged[unit] = now
            text = "%s: answered after %.0f ms, timeout is %.0f ms"
            log.warning(text, ", ".join(names) or f"unit {unit}", seconds * 1e3, timeout_s * 1e3)

    def frame(self, unit: int, what: str, data: bytes) -> None:
        """A frame went by."""
        if not self._sinks:
            return
        at = datetime.fromtimestamp(self._context.clock.now_ns() / 1e9, UTC).isoformat(timespec="milliseconds")
        for name in self._devices(unit) if unit >= 0 else list(self._sinks):
            if (sink := self._sinks.get(name)) is not None:
                sink(f"{at} {what:5} {data.hex(' ')}")
