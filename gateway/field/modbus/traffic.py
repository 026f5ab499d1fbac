"""What goes by on a link and is no awaited answer: late frames are counted, traced ones handed to their sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.field.contract import BusPlan, FieldContext

log = logging.getLogger(__name__)

_LATE_LOG_S: Final = 60.0


class Traffic:
    """The `Listener` of one bus."""

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
        for name in self._devices(unit) if unit >= 0 else list(self._sinks):
            if (sink := self._sinks.get(name)) is not None:
                sink(f"{what:5} {data.hex(' ')}")
