"""The last ten minutes of every tag, one sample each ten seconds: enough for a small line on the page."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.readings import BAD
from gateway.runtime.latest import Latest

SAMPLES: Final = 60
EVERY_S: Final = 10.0


class Trends:
    """A ring of samples by tag; a tag without a good or uncertain value leaves a gap (NaN)."""

    def __init__(self, latest: Latest) -> None:
        self._latest = latest
        self._ring: NDArray[np.float32] = np.full((SAMPLES, len(latest.value)), np.nan, np.float32)
        self._next = 0

    def sample(self) -> None:
        """Take over the newest values."""
        tags = len(self._latest.value)
        if tags > self._ring.shape[1]:
            more = np.full((SAMPLES, tags - self._ring.shape[1]), np.nan, np.float32)
            self._ring = np.concatenate([self._ring, more], axis=1)
        row = self._ring[self._next]
        with np.errstate(over="ignore"):
            row[:] = self._latest.value
        row[self._latest.quality >= BAD] = np.nan
        self._next = (self._next + 1) % SAMPLES

    def of(self, tags: NDArray[np.uint32]) -> list[list[float | None]]:
        """The samples of each tag, oldest first; None where there was no usable value."""
        columns = np.full((SAMPLES, len(tags)), np.nan)
        sampled = tags < self._ring.shape[1]  # a reload's new tags are not in the ring yet
        columns[:, sampled] = np.roll(self._ring[:, tags[sampled]], -self._next, axis=0)
        values = columns.astype(object)
        values[~np.isfinite(columns)] = None
        rows: list[list[float | None]] = values.T.tolist()
        return rows

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(EVERY_S)
