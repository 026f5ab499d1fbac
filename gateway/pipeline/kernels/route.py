"""Which stages a poll needs at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import TagColumn


@kernel
def route(tag: TagColumn, stages: NDArray[np.int64], every: int) -> int:
    """The stages (a bit each) that any of the rows needs, by stages i8[tags]; -1 where a tag number is out of range.

    `every` is all of them: once they are found nobody looks further.
    """
    top = np.uint32(0)
    for row in range(tag.size):
        top = max(top, tag[row])
    if tag.size > 0 and top >= stages.size:
        return -1
    needed = 0
    for row in range(tag.size):
        needed |= stages[tag[row]]
        if needed == every:
            break
    return needed
