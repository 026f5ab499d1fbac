"""Swinging door over all tags that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import swinging_door as kernels
from gateway.pipeline.settings import BAD_INTERVAL
from gateway.pipeline.stages.stage import NO_ROWS, Stage, Use, nanoseconds
from gateway.readings import Readings, TagTable


class Door(Stage):
    """Passes the rows from which straight lines come within the deviation of every other row.

    Bound: |reconstruction - value| <= deviation (1 + 1e-9) at every row that came in, a line being drawn between
    neighbouring sent rows of one tag, one quality, and times that don't go back.
    """

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((kernels.REAL, len(uses)))
        self._whole = np.zeros((kernels.WHOLE, len(uses)), np.int64)
        self._ring_time = np.zeros((len(uses), kernels.RING), np.int64)
        self._ring_value = np.zeros((len(uses), kernels.RING))
        self._whole[kernels.CODE] = kernels.NOTHING
        for at, use in enumerate(uses):
            step = use.settings
            if step.deviation != "auto":
                self._real[kernels.ERROR : kernels.NEXT_ERROR + 1, at] = step.deviation
            given = step.max_interval if "max_interval" in step.model_fields_set else None
            self._whole[kernels.LONGEST, at] = nanoseconds(step.max_interval)
            self._whole[kernels.BAD_LONGEST, at] = nanoseconds(given or BAD_INTERVAL)

    @property
    def next_deviation(self) -> NDArray[np.float64]:
        """By slot, the deviation from the next line on: a view to write to."""
        view: NDArray[np.float64] = self._real[kernels.NEXT_ERROR]
        return view

    def deviations(self) -> Mapping[int, float]:
        """By tag, the deviation of the line being drawn."""
        return dict(zip(self.tags.tolist(), self._real[kernels.ERROR].tolist(), strict=True))

    def __call__(self, readings: Readings) -> Readings:
        """The rows that pass."""
        rows = readings.tag.size
        tag, time_ns, value, quality = _space(rows + (kernels.RING - 1) * min(rows, self.tags.size))
        sent = kernels.swing(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            self._ring_time,
            self._ring_value,
            tag,
            time_ns,
            value,
            quality,
        )
        if not sent:
            return NO_ROWS
        return Readings(
            tag[:sent].copy(), time_ns[:sent].copy(), value[:sent].copy(), quality[:sent].copy(), readings.texts
        )

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """What is pending, each tag's to its last row."""
        tag, time_ns, value, quality = _space((kernels.RING - 1) * slots.size)
        sent = kernels.flush(
            slots,
            self.tags,
            self._real,
            self._whole,
            self._ring_time,
            self._ring_value,
            tag,
            time_ns,
            value,
            quality,
        )
        return Readings(tag[:sent].copy(), time_ns[:sent].copy(), value[:sent].copy(), quality[:sent].copy())

    def state(self) -> Sequence[NDArray[Any]]:
        """Deviations, anchors, wedges and pending rows."""
        return self._real.T, self._whole.T, self._ring_time, self._ring_value


def _space(
    rows: int,
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]:
    return np.empty(rows, np.uint32), np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.uint8)
