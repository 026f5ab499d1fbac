"""Honest time: UTC derived from the monotonic clock, whether it is synchronised, and steps of the wall clock.

A reading's instant is taken on the monotonic clock and mapped to UTC with the offset in force, so a wall clock that
steps between a request and its answer can't bend the midpoint. The offset against CLOCK_BOOTTIME travels with every
block, so that readings taken before the clock was right are corrected once it is (same boot of the machine only).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.block import ClockStamp

STEP_NS: Final = 250_000_000  # a smaller difference is slewing, not a step


@dataclass(frozen=True, slots=True)
class ClockChange:
    """The wall clock stepped or became synchronised: all earlier times belong to `before`."""

    before: ClockStamp
    after: ClockStamp

    @property
    def step_ns(self) -> int:
        """How far the wall clock moved against the time since boot."""
        return self.after.offset_ns - self.before.offset_ns


def machine_boot() -> str:
    """The kernel's id of this boot, or `unknown` where it isn't told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return "unknown"


class Clock:
    """UTC in whole microseconds. `check()` takes over a step or a synchronisation; until then offsets stand still."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        boottime_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        synchronised: Callable[[], bool] = lambda: True,
        boot: str | None = None,
    ) -> None:
        self._wall_ns = wall_ns
        self._boottime_ns = boottime_ns
        self._monotonic_ns = monotonic_ns
        self._is_synchronised = synchronised
        self._boot = machine_boot() if boot is None else boot
        self._offset = wall_ns() - monotonic_ns()
        self.stamp = self._measure()

    def _measure(self) -> ClockStamp:
        return ClockStamp(self._boot, self._wall_ns() - self._boottime_ns(), self._is_synchronised())

    def now_ns(self) -> int:
        """UTC now, by the offset in force."""
        return self.utc_ns(self._monotonic_ns())

    def utc_ns(self, monotonic_ns: int) -> int:
        """UTC of an instant of the monotonic clock, whole microseconds."""
        return (monotonic_ns + self._offset) // 1000 * 1000

    def utc_of(self, loop_time: float) -> int:
        """UTC of an instant of `loop.time()` (the same monotonic clock, in seconds)."""
        return self.utc_ns(int(loop_time * 1e9))

    def check(self) -> ClockChange | None:
        """Compare with the wall clock; a slew is followed silently, a step or a synchronisation is returned."""
        before, now = self.stamp, self._measure()
        self._offset = self._wall_ns() - self._monotonic_ns()
        self.stamp = now
        stepped = abs(now.offset_ns - before.offset_ns) >= STEP_NS
        return ClockChange(before, now) if stepped or now.synchronised != before.synchronised else None
