"""First-order low-pass for uneven sampling: alpha = 1 - exp(-dt / time constant)."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, TimeColumn, ValueColumn

REAL: Final = 3
WHOLE: Final = 2
CONSTANT, DECIMAL, STATE = 0, 1, 2  # fields of `real`: ns, rounding (see `smooth`), the unrounded result
TIME, STARTED = 0, 1  # of `whole`: time of the last row, 0 before a run's first
_BAD: Final = int(BAD)
_EXACT: Final = 2.0**53  # from here on there are no digits to round


@kernel
def smooth(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    out_value: ValueColumn,
) -> None:
    """Write the value column after the filter to out_value[n].

    A run starts with its first value; a row not later than the one before leaves the state unchanged; a bad row ends
    the run, and so does a jump beyond float64. DECIMAL p > 0 rounds to multiples of 1/p, p < 0 to multiples of -p, 0
    not at all.
    """
    for row in range(tag.size):
        v = value[row]
        out_value[row] = v
        at = slot[tag[row]]
        if at < 0:
            continue
        if quality[row] >= _BAD or not math.isfinite(v):
            whole[STARTED, at] = 0
            continue
        if whole[STARTED, at] == 0:
            whole[STARTED, at] = 1
            whole[TIME, at] = time_ns[row]
            real[STATE, at] = v
        elif time_ns[row] > whole[TIME, at]:
            span = float(time_ns[row] - whole[TIME, at])
            whole[TIME, at] = time_ns[row]
            rise = v - real[STATE, at]
            if math.isfinite(rise):
                real[STATE, at] -= math.expm1(-span / real[CONSTANT, at]) * rise
            else:
                real[STATE, at] = v
        state, decimal = real[STATE, at], real[DECIMAL, at]
        out_value[row] = state
        if decimal > 0.0 and abs(state * decimal) < _EXACT:
            out_value[row] = np.rint(state * decimal) / decimal
        elif decimal < 0.0 and abs(state / decimal) < _EXACT:
            out_value[row] = np.rint(state / -decimal) * -decimal
