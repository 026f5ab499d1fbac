"""Counter and rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import counting as kernels
from gateway.pipeline.stages.stage import NO_ROWS, Stage, Use
from gateway.readings import Readings, TagTable


class Counter(Stage):
    """Running totals of counters, from the first value on. Bad readings and changes of the clock don't break them."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((kernels.COUNTER_REAL, len(uses)))
        self._whole = np.zeros((kernels.COUNTER_WHOLE, len(uses)), np.int64)
        for at, use in enumerate(uses):
            self._real[kernels.SPAN, at] = 2.0**use.settings.bits * use.tag.scale
            self._real[kernels.ZERO, at] = use.tag.offset

    def __call__(self, readings: Readings) -> Readings:
        """The same rows with totals."""
        value, quality = np.empty(readings.tag.size), np.empty(readings.tag.size, np.uint8)
        kernels.unfold(
            readings.tag,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            value,
            quality,
        )
        return Readings(readings.tag, readings.time_ns, value, quality, readings.texts)

    def state(self) -> Sequence[NDArray[Any]]:
        """Ranges and totals."""
        return self._real.T, self._whole.T


class Rate(Stage):
    """Changes per time. The first reading of a run has none."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((kernels.RATE_REAL, len(uses)))
        self._whole = np.zeros((kernels.RATE_WHOLE, len(uses)), np.int64)
        for at, use in enumerate(uses):
            self._real[kernels.PER, at] = use.settings.per * 1e9

    def __call__(self, readings: Readings) -> Readings:
        """The rows that have a rate."""
        rows = readings.tag.size
        value, keep = np.empty(rows), np.empty(rows, np.int64)
        kept = kernels.rate(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            value,
            keep,
        )
        rates = Readings(readings.tag, readings.time_ns, value, readings.quality, readings.texts)
        if kept == rows:
            return rates
        return rates.where(keep[:kept]) if kept else NO_ROWS

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """Nothing waits here; no rate reaches across."""
        self._whole[kernels.KNOWN, slots] = 0
        return NO_ROWS

    def state(self) -> Sequence[NDArray[Any]]:
        """Units and the rows before."""
        return self._real.T, self._whole.T
