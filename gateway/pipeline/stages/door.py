"""Swinging door over all tags that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import noise
from gateway.pipeline.kernels import swinging_door as kernels
from gateway.pipeline.settings import BAD_INTERVAL, outgoing, resolution
from gateway.pipeline.stages.stage import Columns, Stage, Use, nanoseconds
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
        self._estimates = any(use.settings.deviation == "auto" for use in uses)
        self._noise_real = np.zeros((noise.REAL, len(uses)))
        self._noise_whole = np.zeros((noise.WHOLE, len(uses)), np.int64)
        self._differences = np.zeros((len(uses) if self._estimates else 0, noise.DIFFERENCES))
        self._noise_real[noise.RESOLUTION] = -1.0
        for at, use in enumerate(uses):
            step = use.settings
            if step.deviation == "auto":
                self._noise_real[noise.RESOLUTION, at] = resolution(outgoing(use.tag, use.steps))
            else:
                self._real[kernels.ERROR : kernels.NEXT_ERROR + 1, at] = step.deviation
            given = step.max_interval if "max_interval" in step.model_fields_set else None
            self._whole[kernels.LONGEST, at] = nanoseconds(step.max_interval)
            self._whole[kernels.BAD_LONGEST, at] = nanoseconds(given or BAD_INTERVAL)

    def deviations(self) -> Mapping[int, float]:
        """By tag, the deviation of the line being drawn; 0 while `auto` still estimates it."""
        return dict(zip(self.tags.tolist(), self._real[kernels.ERROR].tolist(), strict=True))

    def __call__(self, readings: Readings) -> Readings:
        """The rows that pass."""
        rows = readings.tag.size
        deviation = np.empty(rows if self._estimates else 0)
        if self._estimates:
            noise.estimate(
                readings.tag,
                readings.value,
                readings.quality,
                self.slot,
                self._noise_real,
                self._noise_whole,
                self._differences,
                deviation,
            )
        space = Columns(rows + (kernels.RING - 1) * min(rows, self.tags.size))
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
            deviation,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(sent, readings.texts)

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """What is pending, each tag's to its last row."""
        space = Columns((kernels.RING - 1) * slots.size)
        sent = kernels.flush(
            slots,
            self.tags,
            self._real,
            self._whole,
            self._ring_time,
            self._ring_value,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        self._noise_whole[noise.STARTED, slots] = 0
        return space.readings(sent)

    def state(self) -> Sequence[NDArray[Any]]:
        """Deviations, anchors, wedges, pending rows, and what estimates the deviation."""
        return (
            self._real.T,
            self._whole.T,
            self._ring_time,
            self._ring_value,
            self._noise_real.T,
            self._noise_whole.T,
            self._differences,
        )
