"""What a lossy step cost: rows received and kept, and how far received values lie from what a receiver rebuilds.

Received rows wait in a buffer per slot until the kept row behind them is known, then each is compared with the line
between the kept rows around it (or with the kept row before it, for receivers that hold). Where more than BUFFER rows
wait, every second of them is let go, again and again: then the worst error is that of a sample.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

BUFFER: Final = 64
WHOLE: Final = 8
# fields of `whole`: counts; rows waiting; each how manieth is taken, the next one's number; time of the last kept row
RECEIVED, KEPT, CHECKED, WAITING, STRIDE, NUMBER, ANCHOR_TIME, ANCHORED = 0, 1, 2, 3, 4, 5, 6, 7
REAL: Final = 2
WORST, ANCHOR = 0, 1  # fields of `real`: worst error so far, value of the last kept row
_BAD: Final = int(BAD)


@kernel
def receive(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    whole: NDArray[np.int64],
    buffer_time: NDArray[np.int64],
    buffer_value: NDArray[np.float64],
) -> None:
    """Count rows on their way into a lossy step and keep them waiting; NaN stands for a run of bad ones.

    buffer_* [N, BUFFER].
    """
    for row in range(tag.size):
        at = slot[tag[row]]
        if at < 0:
            continue
        whole[RECEIVED, at] += 1
        waiting = whole[WAITING, at]
        v = value[row]
        if quality[row] & _BAD or not math.isfinite(v):
            if waiting and math.isnan(buffer_value[at, waiting - 1]):
                continue
            v = np.nan
        else:
            number = whole[NUMBER, at]
            whole[NUMBER, at] = number + 1
            if number % whole[STRIDE, at] != 0:
                continue
        if waiting == BUFFER:
            for other in range(BUFFER // 2):
                buffer_time[at, other] = buffer_time[at, 2 * other]
                buffer_value[at, other] = buffer_value[at, 2 * other]
            waiting = BUFFER // 2
            whole[STRIDE, at] *= 2
        buffer_time[at, waiting] = time_ns[row]
        buffer_value[at, waiting] = v
        whole[WAITING, at] = waiting + 1


@kernel
def keep(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    linear: NDArray[np.bool_],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    buffer_time: NDArray[np.int64],
    buffer_value: NDArray[np.float64],
) -> None:
    """Count rows that left a lossy step and compare what waited before each of them. linear[N]: lines, else hold."""
    for row in range(tag.size):
        at = slot[tag[row]]
        if at < 0:
            continue
        whole[KEPT, at] += 1
        waiting = whole[WAITING, at]
        t, v = time_ns[row], value[row]
        good = not (quality[row] & _BAD) and math.isfinite(v)
        before = waiting
        behind = waiting
        for number in range(waiting):
            there = buffer_value[at, number]
            if buffer_time[at, number] == t and (there == v if good else math.isnan(there)):
                before, behind = number, number + 1
                break
        if before == waiting:  # thinned out of the buffer
            before = 0
            while before < waiting and buffer_time[at, before] <= t:
                before += 1
            behind = before
        start, first = whole[ANCHOR_TIME, at], real[ANCHOR, at]
        slope = (v - first) / np.float64(t - start) if good and linear[at] and t > start else 0.0
        for number in range(before if whole[ANCHORED, at] and (good or not linear[at]) else 0):
            there = buffer_value[at, number]
            if math.isnan(there):
                continue
            error = abs(there - (first + slope * np.float64(buffer_time[at, number] - start)))
            if linear[at] and t <= start:  # a vertical step: either end of it explains the value
                error = min(error, abs(there - v))
            real[WORST, at] = max(real[WORST, at], error)
            whole[CHECKED, at] += 1
        whole[CHECKED, at] += good
        for number in range(behind, waiting):
            buffer_time[at, number - behind] = buffer_time[at, number]
            buffer_value[at, number - behind] = buffer_value[at, number]
        whole[WAITING, at] = waiting - behind
        whole[STRIDE, at] = 1
        whole[ANCHORED, at] = good
        if good:
            whole[ANCHOR_TIME, at] = t
            real[ANCHOR, at] = v


@kernel
def held(
    linear: NDArray[np.bool_],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    buffer_value: NDArray[np.float64],
) -> None:
    """Compare what waits where receivers hold: such a step decides at once, so no later row changes the verdict."""
    for at in range(linear.size):
        if linear[at] or not whole[ANCHORED, at]:
            continue
        for number in range(whole[WAITING, at]):
            if not math.isnan(buffer_value[at, number]):
                real[WORST, at] = max(real[WORST, at], abs(buffer_value[at, number] - real[ANCHOR, at]))
                whole[CHECKED, at] += 1
        whole[WAITING, at] = 0
        whole[STRIDE, at] = 1
