"""One device of a server between two connections: its decoder, what it refuses, and how its readings go out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.field.contract import FieldContext, Loss
from gateway.field.conversion import Rows
from gateway.field.devices import Device
from gateway.field.opcua.columns import DataDecoder, DataValue, names_of
from gateway.field.opcua.settings import OpcuaDevice
from gateway.readings import Quality, Readings, TimeColumn
from gateway.runtime.supervise import Link

log = logging.getLogger(__name__)

_TRACED: Final = 8  # values of an answer that a trace shows
_TRACED_LENGTH: Final = 60  # characters of each


class Feed:
    """Lives as long as the device's settings do; `newest_ns` of its decoder tells where history has to begin."""

    def __init__(self, device: Device, context: FieldContext) -> None:
        self.device = device
        self.context = context
        self.decoder = DataDecoder(device.tags, device.indices)
        self.link: Link | None = None
        self._refused: dict[int, str] = {}
        self._bad_ns = np.zeros(len(device.tags), np.int64)  # of each row's newest refusal

    @property
    def settings(self) -> OpcuaDevice:
        """The device's settings."""
        settings: OpcuaDevice = self.device.settings
        return settings

    def rows(self) -> Rows:
        """All rows."""
        return np.arange(len(self.device.tags))

    def take(
        self,
        rows: Rows,
        values: Sequence[DataValue],
        received_ns: int,
        seconds: float = 0.0,
        *,
        past: bool = False,
        confirms: bool = False,
    ) -> Readings:
        """Hand on values of some rows, and report what the server dropped before them.

        `past`: they are history. `confirms`: as in `DataDecoder.decode`.
        """
        before = self.decoder.newest_ns.copy()
        floor: TimeColumn | int = 0 if past else np.maximum(self._bad_ns[rows], self.device.failed_ns)
        readings, overflowed = self.decoder.decode(
            rows, values, received_ns, floor, synchronised=self.context.clock.stamp.synchronised, confirms=confirms
        )
        if len(overflowed):
            since = before[overflowed]
            known = since[since > 0]
            self.context.port.loss(
                Loss(
                    "overflow",
                    self.device.indices[overflowed],
                    int(known.min()) if len(known) else received_ns,
                    received_ns,
                    len(overflowed),  # at least: the server doesn't count
                )
            )
        self.context.port.readings(readings)
        self.device.counters.polled(seconds, received_ns)
        self.worked()
        if self.device.sink is not None:
            self.device.sink(self._shown(rows, values, seconds))
        return readings

    def lost(self, messages: int, since_ns: int, until_ns: int) -> None:
        """Publish answers went missing on the way: which tags they were about, nobody knows."""
        log.warning("%s: %d publish answers are missing", self.device.name, messages)
        self.context.port.loss(Loss("overflow", self.device.indices, since_ns, until_ns, messages))

    def worked(self) -> None:
        """A usable answer came."""
        self.device.online()
        if self.link is not None:
            self.link.worked()

    def refuse(self, reasons: dict[int, str], at_ns: int) -> None:
        """The server refuses rows: they go out bad/exception."""
        rows = np.array(sorted(reasons), np.intp)
        if len(rows):
            self._bad_ns[rows] = at_ns
            self.device.counters.errors[Quality.BAD_EXCEPTION.reason] += 1
            self.context.port.readings(Readings.failed(self.device.indices[rows], at_ns, Quality.BAD_EXCEPTION))

    def name_refused(self, reasons: dict[int, str]) -> None:
        """One log line for the rows the server refuses anew."""
        rows = np.array(sorted(reasons), np.intp)
        fresh = np.array([row for row in rows.tolist() if self._refused.get(row) != reasons[row]], np.intp)
        if len(fresh):
            log.warning("%s: refused by the server: %s", self.device.name, names_of(fresh, self.device.tags, reasons))
        self._refused = reasons

    def _shown(self, rows: Rows, values: Sequence[DataValue], seconds: float) -> str:
        """An answer as a line for whoever traces the device."""
        names = [self.device.tags[row].name for row in rows[:_TRACED].tolist()]
        pairs = ", ".join(f"{name}={_plain(value)}" for name, value in zip(names, values, strict=False))
        took = f" in {seconds * 1000:.1f} ms" if seconds else ""
        return f"got   {len(values)} values{took}: {pairs}" + (", ..." if len(values) > _TRACED else "")


def _plain(value: DataValue) -> str:
    status = value.StatusCode
    if status is not None and not status.is_good():
        return str(status.name)
    return repr(None if value.Value is None else value.Value.Value)[:_TRACED_LENGTH]
