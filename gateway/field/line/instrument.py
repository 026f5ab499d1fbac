"""One instrument on a line: what its lines mean, which of them are handed on, when it counts as quiet."""

from __future__ import annotations

import numpy as np

from gateway.field.contract import FieldContext
from gateway.field.conversion import Conversion
from gateway.field.devices import Device
from gateway.field.line.decode import Fields, LineDecoder
from gateway.field.line.framer import Line
from gateway.field.line.settings import LineConnection, LineDevice
from gateway.readings import Quality, Readings
from gateway.runtime.supervise import Backoff

PATIENCE = 2  # unanswered polls in a row before an instrument is only probed


class Instrument:
    """A device with its decoder. Times are of the loop's clock."""

    def __init__(self, device: Device, connection: LineConnection, context: FieldContext, now: float) -> None:
        settings: LineDevice = device.settings
        self.device = device
        self._context = context
        self._decoder = LineDecoder(settings)
        self._conversion = Conversion(device.tags)
        self._rows = np.arange(len(device.tags))
        poll = settings.poll or connection.poll
        self.poll = None if poll is None else poll.encode("latin-1")
        self._stale = settings.stale or 2 * max(device.every, connection.timeout)
        self._heard = now
        self._pending: Readings | None = None
        self._pending_good = False
        self._backoff = Backoff(1.0, 60.0)
        self._silent = 0  # polls in a row without an answer
        self.probe_at = 0.0

    @property
    def due(self) -> float:
        """When the instrument wants to be served next."""
        if self.poll is not None or self._pending is not None:
            return self.device.grid.due
        return max(self.device.grid.due, self._heard + self._stale)

    def decode(self, line: bytes) -> Fields | None:
        """The values of a line of this instrument; None where it is none."""
        return self._decoder.decode(line)

    def readings(self, fields: Fields, at: float) -> Readings:
        """The readings of one line."""
        value, quality = self._conversion.apply(self._rows, fields.raw, fields.quality)
        times = np.full(len(self._rows), self._context.clock.utc_of(at), np.int64)
        return Readings(self.device.indices, times, value, quality, fields.texts)

    def hear(self, line: Line, fields: Fields, now: float) -> None:
        """An instrument that talks by itself sent a line: at most one per slot is handed on, the newest."""
        self._heard = now
        self.device.online()
        self.device.counters.polled(0.0, self._context.clock.utc_of(line.at))
        self._offer(self.readings(fields, line.at), now, good=True)

    def mishear(self, line: Line, now: float) -> None:
        """A line came that can only be this instrument's, and means nothing."""
        self._offer(
            Readings.failed(self.device.indices, self._context.clock.utc_of(line.at), Quality.BAD_DECODE),
            now,
            good=False,
        )

    def _offer(self, readings: Readings, now: float, *, good: bool) -> None:
        if self._pending is not None:
            self.device.counters.errors["superseded"] += 1
        if good or not self._pending_good:
            self._pending, self._pending_good = readings, good
        if now >= self.device.grid.due:
            self.serve(now)

    def serve(self, now: float) -> None:
        """A talker's slot: hand on its newest line, or say that it is quiet."""
        slot, _ = self.device.grid.take(now)
        if self._pending is not None:
            self._context.port.readings(self._pending)
            self._pending, self._pending_good = None, False
        else:
            self.device.failed(Quality.BAD_STALE, slot)
            self.device.offline("stale")

    def answered(self) -> None:
        """A poll got a line, good or bad: the instrument lives."""
        self._silent, self.probe_at = 0, 0.0
        self._backoff.reset()

    def unanswered(self, now: float) -> None:
        """A poll got nothing: after PATIENCE of them the next one waits, so that the others keep their rate."""
        self._silent += 1
        if self._silent >= PATIENCE:
            self.probe_at = now + self._backoff.delay()
