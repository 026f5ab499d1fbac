"""Swinging door, replay form: straight lines between neighbouring sent rows of a run miss no row by more than E.

A run is a stretch of one tag with one quality (bad: whatever the reason) and times that never go back. From the anchor
(last sent) the wedge of slopes low..high holds every line that passes all later points within E. A point is feasible if
the line to it lay in the wedge before it was added; `pending` holds the last feasible point and what came after it:

    anchor ---- ... covered ... ---- pending[0] - pending[1] - ... pending[count-1]
                                     feasible     infeasible ones

It is sent once the wedge is empty, the interval is over or the ring is full; it is the next anchor, and the points
after it are taken again. Nothing else is ever sent within a run, so each line was tested against every point below it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

RING: Final = 16
REAL: Final = 6
WHOLE: Final = 6
# fields of `real`: deviation of the running line and from the next anchor on, the anchor's value, wedge, newest value
ERROR, NEXT_ERROR, ANCHOR, LOW, HIGH, NEWEST = range(6)
# fields of `whole`: longest line, repeat of a bad row, time of the anchor or last bad row, its quality, pending rows,
# time of the newest row. A single pending row is the newest and stands nowhere else: most rows touch no ring.
LONGEST, BAD_LONGEST, TIME, CODE, COUNT, NEWEST_TIME = range(6)
NOTHING: Final = -1  # CODE before the first row of a run
_BAD: Final = int(BAD)
_ROUNDING: Final = 8 * 2.0**-52


@kernel
def _send(
    t: int,
    v: float,
    at: int,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    out_time: TimeColumn,
    out_value: ValueColumn,
    out: int,
) -> int:
    """Put a good row out as the new anchor."""
    real[ERROR, at] = real[NEXT_ERROR, at]
    real[ANCHOR, at] = v
    real[LOW, at] = -math.inf
    real[HIGH, at] = math.inf
    whole[TIME, at] = t
    out_time[out] = t
    out_value[out] = v
    return out + 1


@kernel
def _settle(
    at: int,
    read: int,
    end: int,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    out_time: TimeColumn,
    out_value: ValueColumn,
    out: int,
) -> int:
    """Take the points ring[read..end) in; ring[0..count) is pending and count <= read."""
    count = whole[COUNT, at]
    longest = whole[LONGEST, at]
    while read < end:
        t, v = ring_time[at, read], ring_value[at, read]
        distance = t - whole[TIME, at]
        rise = v - real[ANCHOR, at]
        margin = real[ERROR, at] - _ROUNDING * max(abs(v), abs(real[ANCHOR, at]))
        close = False
        if distance == 0 and abs(rise) <= real[ERROR, at]:
            read += 1  # repeats the anchor
        elif distance == 0 or margin <= 0.0 or distance > longest:
            if count == 0:
                out = _send(t, v, at, real, whole, out_time, out_value, out)
                read += 1
            else:
                close = True
        else:
            span = float(distance)
            feasible = real[LOW, at] * span <= rise <= real[HIGH, at] * span
            scale = 1.0 / span
            real[LOW, at] = max(real[LOW, at], (rise - margin) * scale)
            real[HIGH, at] = min(real[HIGH, at], (rise + margin) * scale)
            read += 1
            if feasible and distance >= longest:
                out = _send(t, v, at, real, whole, out_time, out_value, out)
                count = 0
            elif feasible:
                ring_time[at, 0], ring_value[at, 0] = t, v
                count = 1
            else:
                ring_time[at, count], ring_value[at, count] = t, v
                count += 1
                close = real[LOW, at] > real[HIGH, at] or count >= RING - 1
        if close:
            for ahead in range(end - read):
                ring_time[at, count + ahead] = ring_time[at, read + ahead]
                ring_value[at, count + ahead] = ring_value[at, read + ahead]
            end = count + end - read
            out = _send(ring_time[at, 0], ring_value[at, 0], at, real, whole, out_time, out_value, out)
            read, count = 1, 0
    whole[COUNT, at] = count
    return out


@kernel
def _finish(
    at: int,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    out_time: TimeColumn,
    out_value: ValueColumn,
    out: int,
) -> int:
    """Send what is pending, to the last row, and end the run."""
    after: Any = np.int64(1)
    if whole[COUNT, at] == 1:
        whole[COUNT, at] = 0
        return _send(whole[NEWEST_TIME, at], real[NEWEST, at], at, real, whole, out_time, out_value, out)
    while whole[COUNT, at] > 0:
        count = whole[COUNT, at]
        whole[COUNT, at] = 0
        out = _send(ring_time[at, 0], ring_value[at, 0], at, real, whole, out_time, out_value, out)
        out = _settle(at, after, count, real, whole, ring_time, ring_value, out_time, out_value, out)
    return out


@kernel
def swing(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    deviation: NDArray[np.float64],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """Write the rows that pass, those of other tags among them; returns how many.

    ring_time i8[N, 16], ring_value f8[N, 16]; deviation f8[n]: where above 0, the tag's deviation from its next anchor
    on (f8[0]: none changes); the out columns hold n + 15 * (tags among the rows) rows at least.
    """
    out: Any = np.int64(0)  # one type everywhere: each literal would be a compile of its own
    after: Any = np.int64(1)
    for row in range(tag.size):
        at: Any = np.int64(slot[tag[row]])
        first = out
        t, v, code = time_ns[row], value[row], np.int64(quality[row])
        if at < 0:
            out_tag[out], out_time[out], out_value[out], out_quality[out] = tag[row], t, v, quality[row]
            out += 1
            continue
        if not math.isfinite(v):
            code |= _BAD
        if deviation.size > 0 and deviation[row] > 0.0:
            real[NEXT_ERROR, at] = deviation[row]
        before = whole[CODE, at]
        count = whole[COUNT, at]
        newest = whole[NEWEST_TIME, at]
        if (code == before or min(code, before) >= _BAD) and t >= newest:
            if code >= _BAD:
                if t - newest < whole[BAD_LONGEST, at]:
                    continue
                whole[TIME, at] = whole[NEWEST_TIME, at] = t
                out_time[out], out_value[out] = t, v
                out += 1
            else:
                anchor, error = real[ANCHOR, at], real[ERROR, at]
                distance = t - whole[TIME, at]
                rise = v - anchor
                margin = error - _ROUNDING * max(abs(v), abs(anchor))
                last = real[NEWEST, at]
                whole[NEWEST_TIME, at], real[NEWEST, at] = t, v
                if 0 < distance < whole[LONGEST, at] and margin > 0.0:
                    # What `_settle` does with most rows, without its detours.
                    low, high = real[LOW, at], real[HIGH, at]
                    span = float(distance)
                    scale = 1.0 / span
                    feasible = low * span <= rise <= high * span
                    low, high = max(low, (rise - margin) * scale), min(high, (rise + margin) * scale)
                    real[LOW, at], real[HIGH, at] = low, high
                    if feasible:
                        whole[COUNT, at] = 1
                        continue
                    if count == 1:
                        ring_time[at, 0], ring_value[at, 0] = newest, last
                    ring_time[at, count], ring_value[at, count] = t, v
                    count += 1
                    whole[COUNT, at] = count
                    if low <= high and count < RING - 1:
                        continue
                    whole[COUNT, at] = 0
                    out = _send(ring_time[at, 0], ring_value[at, 0], at, real, whole, out_time, out_value, out)
                    out = _settle(at, after, count, real, whole, ring_time, ring_value, out_time, out_value, out)
                else:
                    if count == 1:
                        ring_time[at, 0], ring_value[at, 0] = newest, last
                    ring_time[at, count], ring_value[at, count] = t, v
                    out = _settle(at, count, count + 1, real, whole, ring_time, ring_value, out_time, out_value, out)
        else:
            out = _finish(at, real, whole, ring_time, ring_value, out_time, out_value, out)
            for pending in range(first, out):
                out_tag[pending], out_quality[pending] = tag[row], before
            first = out
            whole[CODE, at] = code
            whole[NEWEST_TIME, at] = t
            if code >= _BAD:
                whole[TIME, at] = t
                out_time[out], out_value[out] = t, v
                out += 1
            else:
                out = _send(t, v, at, real, whole, out_time, out_value, out)
        for sent in range(first, out):
            out_tag[sent], out_quality[sent] = tag[row], quality[row]
    return int(out)


@kernel
def flush(
    slots: NDArray[np.int64],
    tags: TagColumn,
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    ring_time: NDArray[np.int64],
    ring_value: NDArray[np.float64],
    out_tag: TagColumn,
    out_time: TimeColumn,
    out_value: ValueColumn,
    out_quality: QualityColumn,
) -> int:
    """End the runs of these slots and write what was pending; tags u4[N] names the slots; returns the rows."""
    out: Any = np.int64(0)
    for number in range(slots.size):
        at = slots[number]
        first = out
        code = whole[CODE, at]
        out = _finish(at, real, whole, ring_time, ring_value, out_time, out_value, out)
        for sent in range(first, out):
            out_tag[sent], out_quality[sent] = tags[at], code
        whole[CODE, at] = NOTHING
    return int(out)
