"""The smallest driver there is: each tag rises by `step` at every tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from gateway.errors import WriteError
from gateway.field.contract import (
    BusPlan,
    ConnectionSettings,
    DeviceName,
    DeviceSettings,
    Driver,
    FieldContext,
    TagSettings,
)
from gateway.readings import Readings
from gateway.runtime.settings import Name


class RampTag(TagSettings):
    """A rising number."""

    step: float = Field(1.0, gt=0)


class RampDevice(DeviceSettings):
    """Rising numbers."""

    tags: Mapping[Name, RampTag] = Field(min_length=1)


class RampConnection(ConnectionSettings):
    """Nothing to connect to."""

    driver: Literal["ramp"]
    start: float = 0.0
    devices: Mapping[DeviceName, RampDevice] = Field(min_length=1)


class RampSource:
    """Counts."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self._plan, self._context = plan, context

    async def run(self) -> None:
        """One task per device."""
        async with asyncio.TaskGroup() as group:
            for device in self._plan.connection.devices:
                group.create_task(self._count(device))

    async def _count(self, device: str) -> None:
        connection: RampConnection = self._plan.connection
        tags = connection.devices[device].tags
        indices = np.array([self._plan.table.index(f"{device}.{name}") for name in tags], np.uint32)
        steps = np.array([tag.step for tag in tags.values()], np.float64)
        value = np.full(len(tags), connection.start)
        self._context.port.link(device, online=True, reason="")
        while True:
            now = np.full(len(tags), self._context.clock.now_ns(), np.int64)
            self._context.port.readings(Readings(indices, now, value, np.zeros(len(tags), np.uint8)))
            value = value + steps
            await asyncio.sleep(self._plan.every[device])

    async def write(self, tag: int, value: float | str) -> float | str:
        """Nothing can be written."""
        raise WriteError("denied", f"tag {tag} can't be written")

    def reconfigure(self, plan: BusPlan) -> None:
        """Takes effect at the next start."""
        self._plan = plan

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """There are no frames."""


DRIVER = Driver("ramp", RampConnection, RampSource)
