"""What compression is judged by: the fewest readings any method can keep, and the worst error of those kept."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel

Series = tuple[NDArray[np.int64], NDArray[np.float64]]  # times, values


@kernel
def optimum(time_ns: NDArray[np.int64], value: NDArray[np.float64], error: float, longest_ns: int) -> int:
    """The exact optimum (Imai and Iri): fewest rows, first and last among them, whose straight lines stay within error.

    For strictly rising times. A line longer than longest_ns is only allowed between neighbours.
    """
    rows = time_ns.size
    fewest = np.full(rows, rows + 1, np.int64)
    fewest[0] = 1
    for start in range(rows - 1):
        low, high = -math.inf, math.inf
        for end in range(start + 1, rows):
            span = time_ns[end] - time_ns[start]
            if end > start + 1 and span > longest_ns:
                break
            slope = (value[end] - value[start]) / float(span)
            if low <= slope <= high or end == start + 1:
                fewest[end] = min(fewest[end], fewest[start] + 1)
            low = max(low, (value[end] - value[start] - error) / float(span))
            high = min(high, (value[end] - value[start] + error) / float(span))
            if low > high:
                break
    return int(fewest[rows - 1])


def strictly_rising(series: Series) -> Series:
    """The series without rows that are not later than all before them."""
    time_ns, value = series
    best = np.maximum.accumulate(time_ns)
    later = np.append(True, time_ns[1:] > best[:-1])
    return time_ns[later], value[later]


def worst_error(series: Series, kept: Series) -> float:
    """The largest distance of a row from the lines between kept rows; times strictly rise, the ends are kept."""
    time_ns, value = series
    kept_ns, kept_value = kept
    place = np.clip(np.searchsorted(kept_ns, time_ns, side="right") - 1, 0, kept_ns.size - 2)
    share = (time_ns - kept_ns[place]).astype(np.longdouble) / (kept_ns[place + 1] - kept_ns[place])
    line = kept_value[place] + share * (kept_value[place + 1].astype(np.longdouble) - kept_value[place])
    return float(np.max(np.abs(line - value)))


def three_sigma(value: NDArray[np.float64]) -> float:
    """Three robust standard deviations of the noise; the smallest difference where most values repeat."""
    steps = np.diff(value)
    sigma = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2.0)
    if sigma > 0.0:
        return 3.0 * sigma
    moving = np.abs(steps[steps != 0.0])
    return float(moving.min()) if moving.size else 1e-9
