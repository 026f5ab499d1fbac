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
WHOLE: Final = 3
ERROR, SENT = 0, 1  # fields of `real`: the band, the last value sent
LONGEST, BAD_LONGEST, TIME = 0, 1, 2  # of `whole`: longest silence, in a bad run; time of the last row sent
NOTHING: Final = 0x7F  # in `last`: before the first row; no quality has this code
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
    last: NDArray[np.uint8],
    keep: NDArray[np.int64],
) -> int:
    """Write the indices of the rows that pass, those of other tags among them, to keep[n]; returns how many.

    last u1[N]: the quality last sent.
    """
    kept = 0
    for row in range(tag.size):
        at = slot[tag[row]]
        if at >= 0:
            v, t, code = value[row], time_ns[row], np.int64(quality[row])
            silence, before = t - whole[TIME, at], np.int64(last[at])
            # Not finite is never within the band.
            if (
                code == before
                and code < _BAD
                and abs(v - real[SENT, at]) <= real[ERROR, at]
                and 0 <= silence < whole[LONGEST, at]
            ):
                continue
            if not math.isfinite(v):
                code |= _BAD
            if min(code, before) >= _BAD and 0 <= silence < whole[BAD_LONGEST, at]:
                continue
            real[SENT, at] = v
            whole[TIME, at] = t
            last[at] = code
        keep[kept] = row
        kept += 1
    return kept
