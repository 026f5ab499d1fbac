"""Limits with hysteresis and an on-delay over a whole poll: only the edges come out."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

REAL: Final = 4
HIGH, LOW, HYSTERESIS, LAST = 0, 1, 2, 3  # fields of `real`: limits (inf: none), and the newest good value
WHOLE: Final = 4
DELAY, ACTIVE, PENDING, SINCE = 0, 1, 2, 3  # of `whole`: ns; the alarm that stands, the one that waits, since when
NONE, HIGH_ALARM, LOW_ALARM = 0, 1, 2  # values of ACTIVE and PENDING, and what an edge brings
_BAD: Final = int(BAD)


@kernel
def check(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    edge_slot: NDArray[np.int64],
    edge_alarm: NDArray[np.int64],
    edge_time: NDArray[np.int64],
    edge_value: NDArray[np.float64],
) -> int:
    """Write every edge to edge_*[2 n]: the slot, the alarm that stands from then on, when, at which value.

    An alarm stands from the first row that finds its limit exceeded for `delay` without a break, until a row is back
    by more than the hysteresis or at the limit itself where there is none. A bad row changes no alarm and ends a wait.
    Time going back ends a wait too.
    """
    edges = 0
    for row in range(tag.size):
        at = slot[tag[row]]
        if at < 0:
            continue
        v, t = value[row], time_ns[row]
        if quality[row] & _BAD or not math.isfinite(v):
            whole[PENDING, at] = NONE
            continue
        real[LAST, at] = v
        active = whole[ACTIVE, at]
        back = real[HYSTERESIS, at]
        if (active == HIGH_ALARM and v <= real[HIGH, at] - back) or (active == LOW_ALARM and v >= real[LOW, at] + back):
            active = NONE
            whole[ACTIVE, at] = NONE
            edge_slot[edges], edge_alarm[edges], edge_time[edges], edge_value[edges] = at, NONE, t, v
            edges += 1
        beyond = HIGH_ALARM if v > real[HIGH, at] else LOW_ALARM if v < real[LOW, at] else NONE
        if beyond in (NONE, active):
            whole[PENDING, at] = NONE
            continue
        if whole[PENDING, at] != beyond or t < whole[SINCE, at]:
            whole[PENDING, at] = beyond
            whole[SINCE, at] = t
        if t - whole[SINCE, at] >= whole[DELAY, at]:
            whole[PENDING, at] = NONE
            whole[ACTIVE, at] = beyond
            edge_slot[edges], edge_alarm[edges], edge_time[edges], edge_value[edges] = at, beyond, t, v
            edges += 1
    return edges
