"""Calls every kernel of the codec once, with the very dtypes and layouts it will meet."""

from __future__ import annotations

import numpy as np

from gateway.codec import decode_quickly, encode
from gateway.readings import Readings


def warm() -> None:
    """Compile the kernels of encoder and decoder, or load them from the cache."""
    rows = 64
    times = np.arange(rows, dtype=np.int64)
    block = Readings(np.zeros(rows, np.uint32), times, np.sin(times), np.zeros(rows, np.uint8))
    falling = Readings(block.tag[::-1], times[::-1], block.value, block.quality, {0: "text"})
    for readings in (block, falling):
        decode_quickly(encode(readings))
