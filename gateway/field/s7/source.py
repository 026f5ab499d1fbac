"""One S7 PLC at work: its devices as stations on the bus scheduler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.errors import WriteError
from gateway.field.bus import Bus
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.devices import device_of
from gateway.field.s7.link import S7Link
from gateway.field.s7.station import S7Station


class S7Source:
    """See `gateway.field.contract.Source`."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self._plan, self._context = plan, context
        self._link = S7Link(plan.connection)
        self._stations = self._build(plan)
        self._bus = Bus(plan.name, context, self._link.link, self._stations.values())

    async def run(self) -> None:
        """Serve the PLC until cancelled."""
        await self._bus.run()

    async def write(self, tag: int, value: float | str) -> float | str:
        """Write an engineering value; returns the value read back."""
        entry = self._plan.table[tag]
        station = self._stations.get(entry.device)
        rows = [] if station is None else station.tags.tolist()
        if station is None or tag not in rows:
            raise WriteError("unknown_tag", f"{entry.full_name} is not on this PLC")
        if entry.write is None:
            raise WriteError("denied", f"{entry.full_name} can't be written")
        patience_s = 3 * self._plan.connection.timeout
        return await self._bus.write(station.device, partial(station.write, rows.index(tag), value), patience_s)

    def reconfigure(self, plan: BusPlan) -> None:
        """Take over a new plan; unchanged devices go on as they are."""
        old, fresh = self._stations, self._build(plan)
        self._plan = plan
        self._stations = {
            name: old[name] if name in old and old[name].model.same_as(station.model) else station
            for name, station in fresh.items()
        }
        self._bus.replace(self._stations.values(), lambda before, after: before is after)

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """A text per answer of one device."""
        if device in self._stations:
            self._stations[device].model.sink = sink

    def _build(self, plan: BusPlan) -> dict[str, S7Station]:
        return {
            name: S7Station(device_of(plan, name, self._context), self._link, self._context)
            for name in plan.connection.devices
        }
