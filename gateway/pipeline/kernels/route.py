"""Which stages a poll needs at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import TagColumn


@kernel
def route(tag: TagColumn, stages: NDArray[np.int64]) -> int:
    """The stages (a bit each) that any of the rows needs, by stages i8[tags]; -1 where a tag number is out of range."""
    needed = 0
    for row in range(tag.size):
        if tag[row] >= stages.size:
            return -1
        needed |= stages[tag[row]]
    return needed
