"""One Modbus bus at work: stations on a session, served by the scheduler."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.errors import WriteError
from gateway.field.bus import Bus
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.modbus.device import Device, places
from gateway.field.modbus.mbap import open_tcp
from gateway.field.modbus.memory import Memory
from gateway.field.modbus.session import Session
from gateway.field.modbus.settings import ModbusConnection, ModbusRtu, ModbusTcp
from gateway.field.modbus.station import ModbusStation
from gateway.field.modbus.traffic import Traffic
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
        self._traffic = Traffic(plan, context)
        self._session = Session(self._open, reopens=isinstance(plan.connection, ModbusTcp))
        self._stations = self._build(plan, {})
        self._writers: dict[str, Writer] = {}
        self._bus = Bus(plan.name, context, self._session.link, self._stations.values())

    async def run(self) -> None:
        """Serve the bus until cancelled."""
        await self._bus.run()

    async def _open(self) -> Wire:
        settings: ModbusConnection = self._plan.connection
        if isinstance(settings, ModbusTcp):
            return await open_tcp(settings, self._traffic)
        # Imported where a bus is opened: a gateway without serial lines doesn't pay for pymodbus.
        from gateway.field.modbus import client  # noqa: PLC0415

        if isinstance(settings, ModbusRtu):
            return await client.open_serial(settings, self._traffic)
        return await client.open_rtu_tcp(settings, self._traffic)

    def _build(self, plan: BusPlan, old: Mapping[str, ModbusStation]) -> dict[str, ModbusStation]:
        """The stations of a plan; those of `old` that did not change are taken over."""
        settings: ModbusConnection = plan.connection
        stations: dict[str, ModbusStation] = {}
        for name, device_settings in settings.devices.items():
            before = old.get(name)
            if before is not None and _unchanged(before, plan):
                before.model.retest()
                stations[name] = before
                continue
            gap = settings.timing().worthwhile_gap() if isinstance(settings, ModbusRtu) else None
            memory = _memory(self._context.state, plan, name)
            device = Device(name, device_settings, places(plan, name), settings.timeout, memory, gap)
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
        self._stations = self._build(plan, self._stations)
        self._plan = self._traffic.plan = plan
        self._writers = {}
        self._bus.replace(self._stations.values(), _same)

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """Send a line per frame of one device to `sink`; None switches it off."""
        self._traffic.watch(device, sink)


def _same(old: Station, new: Station) -> bool:
    return old is new


def _unchanged(station: ModbusStation, plan: BusPlan) -> bool:
    device = station.model
    return (
        station.period_s == plan.every[device.name]
        and device.settings == plan.connection.devices[device.name]
        and all(plan.table.find(place.name) == index for index, place in device.places.items())
    )


def _memory(state: Path | None, plan: BusPlan, device: str) -> Memory | None:
    settings: ModbusConnection = plan.connection
    host = "" if isinstance(settings, ModbusRtu) else settings.host
    whose = f"{settings.driver} {host}:{settings.port} unit {settings.devices[device].unit}"
    return None if state is None else Memory(state / f"modbus-{device}.json", whose)
