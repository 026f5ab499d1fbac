"""Times taken before the clock was right, put right once it is: same boot of the machine only. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gateway.block import Block, ClockStamp
from gateway.readings import Quality


def corrected(block: Block, now: ClockStamp) -> Block:
    """The block as it is to be sent, by the clock in force; the same object where nothing is to be done.

    The difference of the two offsets against the time since boot is what the clock was wrong by. Readings marked
    `clock` become good. Rows keep their order and the block its identity.
    """
    taken = block.clock
    if taken.synchronised or not now.synchronised or taken.machine_boot != now.machine_boot:
        return block
    readings = block.readings
    shift = (now.offset_ns - taken.offset_ns) // 1000 * 1000
    marked = readings.quality == Quality.UNCERTAIN_CLOCK
    right = replace(
        readings,
        time_ns=readings.time_ns + np.int64(shift),
        quality=np.where(marked, np.uint8(Quality.GOOD), readings.quality),
    )
    return replace(block, readings=right, clock=now, sealed_ns=block.sealed_ns + shift)
