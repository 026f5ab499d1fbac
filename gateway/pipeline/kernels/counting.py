"""Counters that roll over or are reset, and rates of change."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, Quality, QualityColumn, TagColumn, TimeColumn, ValueColumn

COUNTER_REAL: Final = 4
COUNTER_WHOLE: Final = 1
SPAN, ZERO, BASE, LAST = 0, 1, 2, 3  # fields of a counter's `real`: of one round, at count 0, added so far, last value
STARTED: Final = 0  # of a counter's `whole`
RATE_REAL: Final = 2
RATE_WHOLE: Final = 2
PER, BEFORE = 0, 1  # fields of a rate's `real`: ns, value of the row before
BEFORE_TIME, KNOWN = 0, 1  # of a rate's `whole`: time of the row before, 0 where there is none
_BAD: Final = int(BAD)
_REPAIRED: Final = int(Quality.UNCERTAIN_REPAIRED)


@kernel
def unfold(
    tag: TagColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> None:
    """Write running totals to out_value[n] and their quality to out_quality[n].

    The total starts with the first value read. A fall is a rollover if the way round is at most half the range, else
    a reset to zero. A rise by more than half the range is no counting: the total stays. Both are marked repaired, and
    so is a total that starts anew because float64 can't hold it.
    """
    for row in range(tag.size):
        v = value[row]
        out_value[row] = v
        out_quality[row] = quality[row]
        at = slot[tag[row]]
        if at < 0 or quality[row] >= _BAD or not math.isfinite(v):
            continue
        span = real[SPAN, at]
        if whole[STARTED, at] != 0:
            counted = (v - real[LAST, at]) / span
            if -1.0 <= counted <= -0.5:
                real[BASE, at] += span
            elif counted < 0.0:
                real[BASE, at] += real[LAST, at] - real[ZERO, at]
                out_quality[row] = _REPAIRED
            elif counted > 0.5:
                real[BASE, at] += real[LAST, at] - v
                out_quality[row] = _REPAIRED
        whole[STARTED, at] = 1
        real[LAST, at] = v
        if not math.isfinite(v + real[BASE, at]):
            real[BASE, at] = 0.0
            out_quality[row] = _REPAIRED
        out_value[row] = v + real[BASE, at]


@kernel
def rate(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    out_value: ValueColumn,
    keep: NDArray[np.int64],
) -> int:
    """Write the changes per PER to out_value[n] and the rows that have one to keep[n]; returns how many.

    The first row of a run, one not later than the row before it, and one whose rate float64 can't hold have none; bad
    rows pass and end the run.
    """
    kept = 0
    for row in range(tag.size):
        v = value[row]
        out_value[row] = v
        at = slot[tag[row]]
        if at >= 0:
            if quality[row] >= _BAD or not math.isfinite(v):
                whole[KNOWN, at] = 0
            else:
                span = time_ns[row] - whole[BEFORE_TIME, at]
                known = whole[KNOWN, at] != 0 and span > 0
                if known:
                    out_value[row] = (v - real[BEFORE, at]) / float(span) * real[PER, at]
                    known = math.isfinite(out_value[row])
                real[BEFORE, at] = v
                whole[BEFORE_TIME, at] = time_ns[row]
                whole[KNOWN, at] = 1
                if not known:
                    continue
        keep[kept] = row
        kept += 1
    return kept
