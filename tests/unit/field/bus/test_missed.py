from __future__ import annotations

import numpy as np

from gateway.field.missed import Missed

TAGS = np.arange(3, dtype=np.uint32)
SECOND = 1_000_000_000


def test_the_first_is_told_at_once_the_next_ones_together() -> None:
    missed = Missed()
    missed.add(1, 10, 10)
    first = missed.loss(TAGS, 20)
    assert first is not None
    assert (first.reason, first.count, first.from_ns, first.to_ns) == ("missed_tick", 3, 10, 10)
    missed.add(2, 30, 40)
    assert missed.loss(TAGS, 50) is None
    missed.add(1, 60, 60)
    later = missed.loss(TAGS, 20 + 10 * SECOND)
    assert later is not None
    assert (later.count, later.from_ns, later.to_ns) == (9, 30, 60)


def test_nothing_missed_nothing_told_and_the_end_tells_everything() -> None:
    missed = Missed()
    assert missed.loss(TAGS, 0, last=True) is None
    missed.add(1, 1, 1)
    missed.loss(TAGS, 1)
    missed.add(1, 2, 2)
    assert missed.loss(TAGS, 2) is None
    assert missed.loss(TAGS, 2, last=True) is not None
