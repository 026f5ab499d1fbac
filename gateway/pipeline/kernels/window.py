"""Centred windows: running median and Hampel filter. A row leaves with its own time, half a window of rows late.

The first half window of a run passes as it comes. A bad row or a time that goes back ends the run: what waits passes
as it is. Results hold only values that were read, so they add no digits.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, Quality, QualityColumn, TagColumn, TimeColumn, ValueColumn

REAL: Final = 2
WHOLE: Final = 2
SIGMAS, FLOOR = 0, 1  # fields of `real`: threshold in robust deviations (0: plain median) and at least
WINDOW, TOTAL = 0, 1  # of `whole`: odd size of the window, rows of the run so far
_BAD: Final = int(BAD)
_REPAIRED: Final = int(Quality.UNCERTAIN_REPAIRED)
_ROBUST: Final = 1.4826  # of a normal distribution: standard deviation by median absolute deviation


@kernel
def _median(ordered: NDArray[np.float64], count: int) -> float:
    """Sort the first `count` (odd) values and give the middle one."""
    for place in range(1, count):
        v = ordered[place]
        free = place
        while free > 0 and ordered[free - 1] > v:
            ordered[free] = ordered[free - 1]
            free -= 1
        ordered[free] = v
    middle: float = ordered[count // 2]
    return middle


@kernel
def _release(
    at: int,
    named: int,
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    ring_quality: NDArray[np.uint8],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
    out: int,
) -> int:
    """End the run: what waits leaves as it is."""
    window, total = whole[WINDOW, at], whole[TOTAL, at]
    half = window // 2
    for number in range(total - min(max(total - half, 0), half), total):
        place = number % window
        out_tag[out], out_time[out] = named, ring_time[at, place]
        out_value[out], out_quality[out] = ring_value[at, place], ring_quality[at, place]
        out += 1
    whole[TOTAL, at] = 0
    return out


@kernel
def centre(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    ring_quality: NDArray[np.uint8],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """Write the rows that leave their windows, those of other tags among them; returns how many.

    Rings [N, widest window]; the out columns hold n + half the widest window * (tags among the rows) rows at least.
    """
    ordered = np.empty(ring_time.shape[1])
    out: Any = np.int64(0)  # one type everywhere: each literal would be a compile of its own
    for row in range(tag.size):
        at: Any = np.int64(slot[tag[row]])
        v, t = value[row], time_ns[row]
        usable = quality[row] < _BAD and math.isfinite(v)
        if at >= 0:
            total, window = whole[TOTAL, at], whole[WINDOW, at]
            if not usable or (total > 0 and t < ring_time[at, (total - 1) % window]):
                out = _release(
                    at,
                    tag[row],
                    whole,
                    ring_time,
                    ring_value,
                    ring_quality,
                    out_tag,
                    out_time,
                    out_value,
                    out_quality,
                    out,
                )
        if at < 0 or not usable:
            out_tag[out], out_time[out], out_value[out], out_quality[out] = tag[row], t, v, quality[row]
            out += 1
            continue
        total, window = whole[TOTAL, at], whole[WINDOW, at]
        half = window // 2
        place = total % window
        ring_time[at, place], ring_value[at, place], ring_quality[at, place] = t, v, quality[row]
        total += 1
        whole[TOTAL, at] = total
        if total <= half:
            out_tag[out], out_time[out], out_value[out], out_quality[out] = tag[row], t, v, quality[row]
            out += 1
        elif total >= window:
            for number in range(window):
                ordered[number] = ring_value[at, number]
            median = _median(ordered, window)
            place = (total - 1 - half) % window
            v, code = ring_value[at, place], ring_quality[at, place]
            if real[SIGMAS, at] > 0.0:
                for number in range(window):
                    ordered[number] = abs(ring_value[at, number] - median)
                limit = real[SIGMAS, at] * _ROBUST * _median(ordered, window)
                if abs(v - median) > max(limit, real[FLOOR, at]):
                    v, code = median, np.uint8(_REPAIRED)
            else:
                v = median
            out_tag[out], out_time[out], out_value[out], out_quality[out] = tag[row], ring_time[at, place], v, code
            out += 1
    return int(out)


@kernel
def flush(
    slots: NDArray[np.int64],
    tags: TagColumn,
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    ring_quality: NDArray[np.uint8],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """End the runs of these slots and write what waited; tags u4[N] names the slots; returns the rows."""
    out: Any = np.int64(0)
    for number in range(slots.size):
        at = slots[number]
        out = _release(
            at,
            tags[at],
            whole,
            ring_time,
            ring_value,
            ring_quality,
            out_tag,
            out_time,
            out_value,
            out_quality,
            out,
        )
    return int(out)
