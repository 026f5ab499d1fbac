"""Aggregate: statistics over windows, as tags of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.pipeline.kernels import aggregate as kernels
from gateway.pipeline.settings import BAD_INTERVAL
from gateway.pipeline.stages.stage import Columns, Stage, Use, nanoseconds
from gateway.readings import Readings, TagTable

_NUMBERS: Final = {
    "min": kernels.MIN,
    "max": kernels.MAX,
    "mean": kernels.MEAN,
    "std": kernels.STD,
    "count": kernels.COUNT,
    "last": kernels.LAST,
    "integral": kernels.INTEGRAL,
}
_GRACE_NS: Final = 2_000_000_000  # a tick leaves a window open as long, for readings that are still on their way


class Aggregate(Stage):
    """Results are good if all readings of the window were; a window without usable ones is bad/stale.

    While windows stay empty, one a minute (or `max_interval`) says so.
    """

    def __init__(self, table: TagTable, uses: Sequence[Use]) -> None:
        super().__init__(table, uses)
        self._real = np.zeros((kernels.REAL, len(uses)))
        self._whole = np.zeros((kernels.WHOLE, len(uses)), np.int64)
        self._outputs = np.full((kernels.STATISTICS, len(uses)), -1, np.int64)
        self._raw = np.array([use.settings.raw for use in uses], np.bool_)
        for at, use in enumerate(uses):
            self._whole[kernels.EVERY, at] = nanoseconds(use.settings.every)
            self._whole[kernels.BAD_LONGEST, at] = nanoseconds(use.settings.max_interval or BAD_INTERVAL)
            for word in use.settings.compute:
                self._outputs[_NUMBERS[word], at] = table.index(f"{use.tag.full_name}.{word}")

    def __call__(self, readings: Readings) -> Readings:
        """The rows, and the results of the windows they close."""
        space = Columns((kernels.MOST + 1) * readings.tag.size)
        count = kernels.aggregate(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self.slot,
            self._real,
            self._whole,
            self._outputs,
            self._raw,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(count, readings.texts)

    def tick(self, now_ns: int) -> Readings:
        """The windows that ended at least two seconds ago."""
        due = self._whole[kernels.START] + self._whole[kernels.EVERY] <= now_ns - _GRACE_NS
        slots = np.flatnonzero(due & (self._whole[kernels.OPEN] != 0)).astype(np.int64)
        space = Columns(kernels.MOST * slots.size)
        count = kernels.close(
            slots,
            now_ns - _GRACE_NS,
            self._real,
            self._whole,
            self._outputs,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(count)

    def flush(self, slots: NDArray[np.int64]) -> Readings:
        """What the running windows hold so far, uncertain/stale, stamped with their last reading."""
        space = Columns(kernels.STATISTICS * slots.size)
        count = kernels.flush(
            slots,
            self._real,
            self._whole,
            self._outputs,
            space.tag,
            space.time_ns,
            space.value,
            space.quality,
        )
        return space.readings(count)

    def state(self) -> Sequence[NDArray[Any]]:
        """Windows and what they hold."""
        return self._real.T, self._whole.T
