"""A Modbus source on one of the links with a scripted device at the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.field.contract import BusPlan, Driver, FieldContext
from gateway.field.health import Health
from gateway.field.modbus import MODBUS_RTU, MODBUS_RTU_TCP, MODBUS_TCP
from gateway.field.modbus.source import ModbusSource
from gateway.runtime.supervise import Backoff
from tests.fakes.modbus import FakeDevice, FakeLine, FakeServer, Memory
from tests.fakes.port import RecordingPort, context_of, plan_of

LINKS = ("tcp", "pipelined", "rtu", "rtu-tcp")
_DRIVERS: Mapping[str, Driver] = {
    "tcp": MODBUS_TCP,
    "pipelined": MODBUS_TCP,
    "rtu": MODBUS_RTU,
    "rtu-tcp": MODBUS_RTU_TCP,
}


def holding(*numbers: int, **keys: Any) -> dict[str, dict[str, Any]]:
    """Tags r<N> on holding registers."""
    return {f"r{number}": {"address": f"holding:{number}", "type": "uint16", **keys} for number in numbers}


def one(*numbers: int, **keys: Any) -> dict[str, Any]:
    """One device, unit 1."""
    return {"plc": {"unit": 1, "tags": holding(*(numbers or (5,))), **keys}}


def counting(*units: int, size: int = 300) -> FakeDevice:
    """A device in which register N holds N plus 1000 times the unit."""
    memories = {}
    for unit in units or (1,):
        cells = {number: 1000 * unit + number for number in range(size)}
        memories[unit] = Memory(
            dict(cells), dict(cells), {n: n & 1 for n in range(size)}, {n: n & 1 for n in range(size)}
        )
    return FakeDevice(memories)


@dataclass
class Rig:
    """A link to be served: its fake, its configuration, and what came out."""

    kind: str
    folder: Path
    device: FakeDevice = field(default_factory=counting)
    timeout: str = "200ms"
    host: str = "127.0.0.1"
    baudrate: int = 115_200
    link: FakeServer | FakeLine = field(init=False)
    plan: BusPlan = field(init=False)
    context: FieldContext = field(init=False)
    port: RecordingPort = field(init=False)
    source: ModbusSource = field(init=False)
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        if self.kind == "rtu":
            self.link = FakeLine(self.device, self.folder / "adapter")
        else:
            self.link = FakeServer(self.device, rtu=self.kind == "rtu-tcp")

    @property
    def serial(self) -> bool:
        """Whether late answers can't be told apart."""
        return self.kind in {"rtu", "rtu-tcp"}

    def planned(self, devices: Mapping[str, Any], every: float | Mapping[str, float] = 0.05) -> BusPlan:
        """The plan for devices given as in the configuration."""
        keys: dict[str, Any] = {"driver": _DRIVERS[self.kind].name, "timeout": self.timeout}
        if isinstance(self.link, FakeLine):
            keys |= {"port": str(self.link.name), "baudrate": self.baudrate, "parity": "none"}
        else:
            keys |= {"host": self.host, "port": self.link.port}
        extra = {"max_in_flight": 4} if self.kind == "pipelined" else {}
        keys["devices"] = {name: {**extra, **settings} for name, settings in devices.items()}
        return plan_of(_DRIVERS[self.kind].connection.model_validate(keys), every, self.kind)

    @asynccontextmanager
    async def running(
        self,
        devices: Mapping[str, Any],
        every: float | Mapping[str, float] = 0.05,
        *,
        plugged: bool = True,
        state: Path | None = None,
    ) -> AsyncIterator[Rig]:
        """The source at work."""
        if plugged:
            await self.link.start()
        elif isinstance(self.link, FakeServer):
            await self.link.start()
            await self.link.shut()
        self.plan = self.planned(devices, every)
        self.context, self.port = context_of(self.plan, state=state)
        self.source = ModbusSource(self.plan, self.context)
        self.source._bus._units._new_health = lambda: Health(Backoff(0.1, 0.5))  # tests can't wait for a minute
        self.task = asyncio.create_task(self.source.run())
        try:
            yield self
        finally:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            await self.link.shut()
