"""Readings of several tags -> the moments at which an expression over them is due, with every input as last known."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import QualityColumn, TagColumn, TimeColumn, ValueColumn

NO_INPUT: Final = -1


@kernel
def align(
    tag: TagColumn,
    time_ns: TimeColumn,
    value: ValueColumn,
    quality: QualityColumn,
    order: NDArray[np.int64],
    position: NDArray[np.int32],
    latest: NDArray[np.float64],
    latest_quality: NDArray[np.uint8],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
    qualities: NDArray[np.uint8],
) -> int:
    """Write each due moment: inputs to values f8[inputs, n], newest time and worst quality; returns how many.

    Rows are taken in `order`; position i4[tags] is a tag's place among the inputs, NO_INPUT for others. A moment ends
    before the row whose tag already has a row in it, so one poll that brings every input gives one moment. latest and
    latest_quality (one per input) go along from call to call.
    """
    inputs = latest.size
    moment = np.full(inputs, -1, np.int64)  # the moment in which each input was seen last
    count = 0
    open_now = False
    newest = np.int64(0)
    for number in range(order.size + 1):
        last = number == order.size
        at = 0
        row = np.int64(0)
        if not last:
            row = order[number]
            at = position[tag[row]]
            if at < 0:
                continue
        if open_now and (last or moment[at] == count):
            times[count] = newest
            worst = latest_quality[0]
            for k in range(inputs):
                values[k, count] = latest[k]
                worst = max(worst, latest_quality[k])
            qualities[count] = worst
            count += 1
            open_now = False
        if last:
            break
        newest = max(newest, time_ns[row]) if open_now else time_ns[row]
        open_now = True
        moment[at] = count
        latest[at] = value[row]
        latest_quality[at] = quality[row]
    return count
