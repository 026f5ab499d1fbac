"""What a receiver rebuilds from the kept rows of one tag, at every row that went into the lossy step."""

from __future__ import annotations

import math

import numpy as np

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TimeColumn, ValueColumn

_BAD = int(BAD)


@kernel
def rebuild(
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    kept_time: TimeColumn,
    kept_value: ValueColumn,
    kept_quality: QualityColumn,
    linear: bool,
    rebuilt: ValueColumn,
) -> int:
    """Write to rebuilt[n]: the line between the kept rows around a row, or the kept one before it (`linear` false).

    NaN at bad rows and where no kept row stands before (and, for lines, behind). Where two kept rows have one time the
    one nearer to the row's value counts. Returns how many kept rows are rows of the input, in its order.
    """
    rows, kept = time_ns.size, kept_time.size
    rebuilt[:] = np.nan
    at = 0
    matched = 0
    start = -1  # the row of the last kept reading that is good
    for number in range(kept):
        t, v, code = kept_time[number], kept_value[number], kept_quality[number]
        good = not (code & _BAD) and math.isfinite(v)
        place = at
        while place < rows and not (
            time_ns[place] == t and quality[place] == code and (value[place] == v or not (good or math.isfinite(v)))
        ):
            place += 1
        if place == rows:
            continue
        matched += 1
        if start >= 0:
            first, begin = value[start], time_ns[start]
            step = good and linear and t <= begin
            slope = (v - first) / np.float64(t - begin) if good and linear and t > begin else 0.0
            for row in range(start + 1, place):
                if quality[row] & _BAD or not math.isfinite(value[row]) or (linear and not good):
                    continue
                rebuilt[row] = first + slope * np.float64(time_ns[row] - begin)
                if step and abs(v - value[row]) < abs(rebuilt[row] - value[row]):
                    rebuilt[row] = v
        if good:
            rebuilt[place] = v
        start = place if good else -1
        at = place + 1
    if start >= 0 and not linear:
        for row in range(start + 1, rows):
            if not (quality[row] & _BAD) and math.isfinite(value[row]):
                rebuilt[row] = value[start]
    return matched
