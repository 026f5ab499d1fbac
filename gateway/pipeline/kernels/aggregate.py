"""Statistics over windows of the UTC grid, half-open, stamped with their end.

A window is closed by the first row at or behind its end, or by a tick. The integral is a sum of trapezoids in unit x s,
cut at the edges of windows and never drawn across a bad row; the mean is the integral over the time it covers.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, Quality, QualityColumn, TagColumn, TimeColumn, ValueColumn

MIN, MAX, MEAN, STD, COUNT, LAST, INTEGRAL = range(7)  # rows of `outputs`
STATISTICS: Final = 7
MOST: Final = 14  # rows a single row can add: a window closed, and one that stayed empty
REAL: Final = 7
WHOLE: Final = 11
# fields of `real`; AVERAGE and SQUARES by Welford, AREA in unit x s, BEFORE the value of the row before
LOWEST, HIGHEST, AVERAGE, SQUARES, NEWEST, AREA, BEFORE = range(7)
# fields of `whole`, times and durations in ns: EVERY the window, START of the running one, ROWS in it, COVERED by its
# area, BEFORE_TIME of the row before (CONNECTED: there is one to draw from), WORST quality, SILENT: time of the last
# bad result while results are bad (EMPTY), BAD_LONGEST between them, RAW: rows pass, OPEN: a window runs
EVERY, START, ROWS, COVERED, BEFORE_TIME, CONNECTED, WORST, SILENT, EMPTY, BAD_LONGEST, OPEN = range(11)
_BAD: Final = int(BAD)
_BAD_DECODE: Final = int(Quality.BAD_DECODE)
_BAD_STALE: Final = int(Quality.BAD_STALE)
_UNCERTAIN_STALE: Final = int(Quality.UNCERTAIN_STALE)
_SECONDS: Final = 1e-9


@kernel
def _write(
    at: int,
    end: int,
    least: int,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    outputs: NDArray[np.int64],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
    out: int,
) -> int:
    """Put the running window's statistics out, stamped `end`, of quality `least` or worse, and empty it.

    One that float64 can't hold is bad/decode.
    """
    rows = whole[ROWS, at]
    if rows == 0:
        if whole[EMPTY, at] != 0 and 0 <= end - whole[SILENT, at] < whole[BAD_LONGEST, at]:
            return out
        whole[SILENT, at] = end
    whole[EMPTY, at] = 1 if rows == 0 else 0
    for number in range(STATISTICS):
        if outputs[number, at] < 0:
            continue
        code = max(whole[WORST, at], least)
        if number == COUNT:
            result = float(rows)
        elif rows == 0:
            result, code = math.nan, _BAD_STALE
        elif number == MIN:
            result = real[LOWEST, at]
        elif number == MAX:
            result = real[HIGHEST, at]
        elif number == MEAN:
            covered = float(whole[COVERED, at]) * _SECONDS
            result = real[AREA, at] / covered if covered > 0.0 else real[AVERAGE, at]
        elif number == STD:
            result = math.sqrt(real[SQUARES, at] / float(rows - 1)) if rows > 1 else 0.0
        elif number == LAST:
            result = real[NEWEST, at]
        else:
            result = real[AREA, at]
        if rows > 0 and not math.isfinite(result):
            result, code = math.nan, _BAD_DECODE
        out_tag[out], out_time[out], out_value[out], out_quality[out] = outputs[number, at], end, result, code
        out += 1
    whole[ROWS, at] = 0
    whole[COVERED, at] = 0
    whole[WORST, at] = 0
    real[AREA, at] = 0.0
    return out


@kernel
def _draw(at: int, t: int, v: float, start: int, end: int, real: NDArray[np.float64], whole: NDArray[np.int64]) -> None:
    """Add the part within start..end of the line from the row before to (t, v) to the running window's area."""
    before_time, before = whole[BEFORE_TIME, at], real[BEFORE, at]
    start, end = max(start, before_time), min(end, t)
    if whole[CONNECTED, at] == 0 or end <= start:
        return
    slope = (v - before) / float(t - before_time)
    left = before + slope * float(start - before_time)
    right = before + slope * float(end - before_time)
    real[AREA, at] += 0.5 * (left + right) * (float(end - start) * _SECONDS)
    whole[COVERED, at] += end - start


@kernel
def aggregate(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    outputs: NDArray[np.int64],
    raw: NDArray[np.bool_],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """Write the rows that pass (raw[N]) and the results of windows they close; returns how many.

    outputs i8[7, N]: the tag of each statistic, -1 where it isn't wanted. The out columns hold 15 n rows at least. A
    row from before the running window is left out, more than a window earlier it starts the windows anew.
    """
    complete: Any = np.int64(0)
    partial: Any = np.int64(_UNCERTAIN_STALE)
    out: Any = np.int64(0)  # one type everywhere: each literal would be a compile of its own
    for row in range(tag.size):
        at: Any = np.int64(slot[tag[row]])
        t, v = time_ns[row], value[row]
        if at >= 0:
            every = whole[EVERY, at]
            start = t // every * every
            usable = quality[row] < _BAD and math.isfinite(v)
            running = whole[START, at]
            if whole[OPEN, at] != 0 and start > running:
                if usable:
                    _draw(at, t, v, running, running + every, real, whole)
                out = _write(
                    at, running + every, complete, real, whole, outputs, out_tag, out_time, out_value, out_quality, out
                )
                if start > running + every:
                    out = _write(
                        at, start, complete, real, whole, outputs, out_tag, out_time, out_value, out_quality, out
                    )
            elif whole[OPEN, at] != 0 and start < running - every:
                if whole[ROWS, at] > 0:
                    out = _write(
                        at,
                        whole[BEFORE_TIME, at],
                        partial,
                        real,
                        whole,
                        outputs,
                        out_tag,
                        out_time,
                        out_value,
                        out_quality,
                        out,
                    )
                whole[CONNECTED, at] = 0
                whole[OPEN, at] = 0
            if whole[OPEN, at] == 0 or start > running:
                whole[OPEN, at] = 1
                whole[START, at] = start
            if not usable:
                whole[CONNECTED, at] = 0
            elif start == whole[START, at]:
                _draw(at, t, v, start, start + every, real, whole)
                rows = whole[ROWS, at]
                if rows == 0:
                    real[LOWEST, at] = real[HIGHEST, at] = real[AVERAGE, at] = v
                    real[SQUARES, at] = 0.0
                whole[ROWS, at] = rows + 1
                real[LOWEST, at] = min(real[LOWEST, at], v)
                real[HIGHEST, at] = max(real[HIGHEST, at], v)
                off = v - real[AVERAGE, at]
                real[AVERAGE, at] += off / float(rows + 1)
                real[SQUARES, at] += off * (v - real[AVERAGE, at])
                real[NEWEST, at] = v
                whole[WORST, at] = max(whole[WORST, at], np.int64(quality[row]))
                real[BEFORE, at] = v
                whole[BEFORE_TIME, at] = t
                whole[CONNECTED, at] = 1
            if not raw[at]:
                continue
        out_tag[out], out_time[out], out_value[out], out_quality[out] = tag[row], t, v, quality[row]
        out += 1
    return int(out)


@kernel
def close(
    slots: NDArray[np.int64],
    until_ns: int,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    outputs: NDArray[np.int64],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """Write the windows of these slots that ended by until_ns; returns the rows, at most 14 a slot."""
    complete: Any = np.int64(0)
    out: Any = np.int64(0)
    for number in range(slots.size):
        at = slots[number]
        every, running = whole[EVERY, at], whole[START, at]
        start = until_ns // every * every
        if whole[OPEN, at] == 0 or start <= running:
            continue
        out = _write(
            at, running + every, complete, real, whole, outputs, out_tag, out_time, out_value, out_quality, out
        )
        if start > running + every:
            out = _write(at, start, complete, real, whole, outputs, out_tag, out_time, out_value, out_quality, out)
        whole[START, at] = start
    return int(out)


@kernel
def flush(
    slots: NDArray[np.int64],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    outputs: NDArray[np.int64],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """Write what these slots' running windows hold, uncertain/stale and stamped with their last row, and forget it."""
    partial: Any = np.int64(_UNCERTAIN_STALE)
    out: Any = np.int64(0)
    for number in range(slots.size):
        at = slots[number]
        if whole[OPEN, at] != 0 and whole[ROWS, at] > 0:
            end = whole[BEFORE_TIME, at]
            out = _write(at, end, partial, real, whole, outputs, out_tag, out_time, out_value, out_quality, out)
        whole[OPEN, at] = 0
        whole[CONNECTED, at] = 0
    return int(out)
