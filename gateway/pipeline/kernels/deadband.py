"""Deadband, on-change (a band of zero) and the bare rule for bad runs (a band below zero): which rows pass.

Edges of quality pass. Bad rows are one run whatever their reasons are: the first passes, then one per interval.

Bound: while a tag's run lasts, every dropped value lies within the band of the last one sent (for receivers that hold).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

REAL: Final = 2
WHOLE: Final = 4
ERROR, SENT = 0, 1  # fields of `real`: the band, the last value sent
LONGEST, BAD_LONGEST, TIME, CODE = 0, 1, 2, 3  # of `whole`: longest silence, in a bad run; time and quality last sent
NOTHING: Final = -1  # CODE before the first row
_BAD: Final = int(BAD)


@kernel
def thin(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    keep: NDArray[np.int64],
) -> int:
    """Write the indices of the rows that pass, those of other tags among them, to keep[n]; returns how many."""
    kept = 0
    for row in range(tag.size):
        at = slot[tag[row]]
        if at >= 0:
            v, t, code = value[row], time_ns[row], np.int64(quality[row])
            if not math.isfinite(v):
                code |= _BAD
            silence, before = t - whole[TIME, at], whole[CODE, at]
            if (code == before or min(code, before) >= _BAD) and silence >= 0:
                if code >= _BAD:
                    if silence < whole[BAD_LONGEST, at]:
                        continue
                elif abs(v - real[SENT, at]) <= real[ERROR, at] and silence < whole[LONGEST, at]:
                    continue
            real[SENT, at] = v
            whole[TIME, at] = t
            whole[CODE, at] = code
        keep[kept] = row
        kept += 1
    return kept
