"""Deadband, on-change, and the rule for bad runs that tags without a lossy step get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import deadband as kernels
from gateway.pipeline.settings import BAD_INTERVAL
from gateway.pipeline.stages.stage import NO_ROWS, Stage, Use, nanoseconds
from gateway.readings import Readings, TagTable


class Thin(Stage):
    """Passes rows that differ by more than their tag's band, quality edges, and one row per longest interval."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((kernels.REAL, len(uses)))
        self._whole = np.zeros((kernels.WHOLE, len(uses)), np.int64)
        self._last = np.full(len(uses), kernels.NOTHING, np.uint8)
        for at, use in enumerate(uses):
            step = use.step
            band = step.deadband.band(use.tag) if step.deadband else 0.0 if step.on_change else -1.0
            interval = use.settings.max_interval
            self._real[kernels.ERROR, at] = band
            self._whole[kernels.LONGEST, at] = nanoseconds(interval)
            self._whole[kernels.BAD_LONGEST, at] = nanoseconds(interval or BAD_INTERVAL)

    def __call__(self, readings: Readings) -> Readings:
        """The rows that pass."""
        rows = readings.tag.size
        keep = np.empty(rows, np.int64)
        kept = kernels.thin(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            self._last,
            keep,
        )
        if kept == rows:
            return readings
        return _taken(readings, keep[:kept]) if kept else NO_ROWS

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """Nothing waits here; the next row passes."""
        self._last[slots] = kernels.NOTHING
        return NO_ROWS

    def state(self) -> Sequence[NDArray[Any]]:
        """Bands, intervals and what was sent last."""
        return self._real.T, self._whole.T, self._last


def _taken(readings: Readings, rows: NDArray[np.int64]) -> Readings:
    """The rows of these indices; `take` is twice as fast as indexing."""
    return Readings(
        readings.tag.take(rows),
        readings.time_ns.take(rows),
        readings.value.take(rows),
        readings.quality.take(rows),
        readings.texts,
    )
