"""Noise of a tag by the median absolute deviation of its first differences: what `deviation: auto` goes by."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, QualityColumn, TagColumn, ValueColumn

DIFFERENCES: Final = 64  # a new estimate as often
REAL: Final = 3
WHOLE: Final = 2
LAST, SIGMA, RESOLUTION = 0, 1, 2  # fields of `real`: value before, estimate (0: none yet), of the tag (0: unknown)
COUNT, STARTED = 0, 1  # of `whole`: differences gathered, 0 where no value stands before
ADAPTATION: Final = 0.125  # share of a new estimate
_SIGMAS: Final = 3.0
_ROBUST: Final = 1.4826 / math.sqrt(2.0)  # a difference has the noise of two values
_FLOAT32: Final = 2.0**-23  # relative resolution where nothing else is known
_BAD: Final = int(BAD)


@kernel
def _sigma(differences: NDArray[np.float64], resolution: float, size: float) -> float:
    """The noise in a full row of differences; a third of the resolution where most of them are equal.

    Not finite where most differences are beyond float64.
    """
    middle = differences.size // 2
    ordered = np.sort(differences)
    median = 0.5 * (ordered[middle - 1] + ordered[middle])
    spread = np.sort(np.abs(differences - median))
    sigma: float = _ROBUST * 0.5 * (spread[middle - 1] + spread[middle])
    if sigma > 0.0 or not math.isfinite(sigma):
        return sigma
    step = resolution
    if step <= 0.0:
        step = math.inf
        for number in range(differences.size):
            if differences[number] != 0.0:
                step = min(step, abs(differences[number]))
    if not math.isfinite(step):
        step = max(abs(size), 1.0) * _FLOAT32
    return step / _SIGMAS


@kernel
def estimate(
    tag: TagColumn,
    value: ValueColumn,
    quality: QualityColumn,
    slot: NDArray[np.int32],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    differences: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> None:
    """Take the rows in; differences f8[N, 64]. Writes three sigmas to deviation[n] at rows that complete 64, else 0.

    Slots whose RESOLUTION is below zero are left alone. Bad rows are no values, no difference reaches across them.
    """
    for row in range(tag.size):
        deviation[row] = 0.0
        at = slot[tag[row]]
        if at < 0 or real[RESOLUTION, at] < 0.0:
            continue
        v = value[row]
        if quality[row] >= _BAD or not math.isfinite(v):
            whole[STARTED, at] = 0
            continue
        if whole[STARTED, at] != 0:
            differences[at, whole[COUNT, at]] = v - real[LAST, at]
            whole[COUNT, at] += 1
            if whole[COUNT, at] == DIFFERENCES:
                whole[COUNT, at] = 0
                sigma = _sigma(differences[at], real[RESOLUTION, at], v)
                if not math.isfinite(_SIGMAS * sigma):
                    sigma = real[SIGMA, at]
                known = real[SIGMA, at]
                real[SIGMA, at] = sigma if known == 0.0 else known + ADAPTATION * (sigma - known)
                deviation[row] = _SIGMAS * real[SIGMA, at]
        whole[STARTED, at] = 1
        real[LAST, at] = v
