"""Spike, median and smooth: steps that change values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import smooth as smoothing
from gateway.pipeline.kernels import window as kernels
from gateway.pipeline.settings import resolution
from gateway.pipeline.stages.stage import NO_ROWS, Columns, Stage, Use
from gateway.readings import Readings, TagTable


class Windows(Stage):
    """Spike and median. A row leaves half a window of rows late, with its own time; a repaired one is marked so."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        widest = max(use.settings.window for use in uses)
        self._half = widest // 2
        self._real = np.zeros((kernels.REAL, len(uses)))
        self._whole = np.zeros((kernels.WHOLE, len(uses)), np.int64)
        self._ring_time = np.zeros((len(uses), widest), np.int64)
        self._ring_value = np.zeros((len(uses), widest))
        self._ring_quality = np.zeros((len(uses), widest), np.uint8)
        for at, use in enumerate(uses):
            self._whole[kernels.WINDOW, at] = use.settings.window
            if use.step.spike:
                self._real[kernels.SIGMAS, at] = use.step.spike.sigmas
                self._real[kernels.FLOOR, at] = bound(use) or resolution(use.tag)

    def __call__(self, readings: Readings) -> Readings:
        """The rows that leave their windows."""
        rows = readings.tag.size
        space = Columns(rows + self._half * min(rows, self.tags.size))
        count = kernels.centre(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            self._ring_time,
            self._ring_value,
            self._ring_quality,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(count, readings.texts)

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """What waits, unfiltered."""
        space = Columns(self._half * slots.size)
        count = kernels.flush(
            slots,
            self.tags,
            self._whole,
            self._ring_time,
            self._ring_value,
            self._ring_quality,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(count)

    def state(self) -> Sequence[NDArray[Any]]:
        """Thresholds and windows."""
        return self._real.T, self._whole.T, self._ring_time, self._ring_value, self._ring_quality


class Smooth(Stage):
    """First-order low-pass. Rounded to a decimal step of at most a 16th of the tag's bound, which costs no accuracy."""

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((smoothing.REAL, len(uses)))
        self._whole = np.zeros((smoothing.WHOLE, len(uses)), np.int64)
        for at, use in enumerate(uses):
            self._real[smoothing.CONSTANT, at] = use.settings.time_constant * 1e9
            self._real[smoothing.DECIMAL, at] = decimal((bound(use) or resolution(use.tag)) / 16.0)

    def __call__(self, readings: Readings) -> Readings:
        """The same rows with filtered values."""
        value = np.empty(readings.tag.size)
        smoothing.smooth(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            value,
        )
        return Readings(readings.tag, readings.time_ns, value, readings.quality, readings.texts)

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """Nothing waits here; the filters start anew."""
        self._whole[smoothing.STARTED, slots] = 0
        return NO_ROWS

    def state(self) -> Sequence[NDArray[Any]]:
        """Time constants and filter states."""
        return self._real.T, self._whole.T


def bound(use: Use) -> float:
    """The error bound the tag's lossy step is configured with, 0 where there is none in advance."""
    last = use.steps[-1]
    if last.deadband:
        return last.deadband.band(use.tag)
    if last.swinging_door and last.swinging_door.deviation != "auto":
        return float(last.swinging_door.deviation)
    return 0.0


def decimal(step: float) -> float:
    """The coarsest decimal step up to `step`, as the smoothing kernel takes it: its inverse, or itself negated."""
    if step <= 0.0:
        return 0.0
    exponent = math.floor(math.log10(step) + 1e-9)
    if exponent < -15:
        return 0.0
    return 10.0**-exponent if exponent <= 0 else -(10.0**exponent)
