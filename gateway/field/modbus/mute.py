"""Requests a living device never answers well: some keep silent or garble where others send an exception. Pure.

Such a request costs a timeout or a new connection each time. It is left out for a while, longer each time, so that it
costs the device's other values little.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.field.modbus.plan import Block
from gateway.readings import Quality
from gateway.runtime.supervise import Backoff

_FIRST_S: Final = 30.0
_LONGEST_S: Final = 600.0


@dataclass(slots=True)
class _Silence:
    until: float
    quality: Quality
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_S, _LONGEST_S))


@dataclass(slots=True)
class Muted:
    """The hopeless requests of one device. Times in seconds of any clock."""

    _known: dict[tuple[int, int, int], _Silence] = field(default_factory=dict)

    def skipped(self, now: float) -> dict[tuple[int, int, int], Quality]:
        """The (function, start, stop) that are left out now, with the quality of their last failure."""
        return {key: silence.quality for key, silence in self._known.items() if now < silence.until}

    def failed(self, block: Block, quality: Quality, now: float) -> float:
        """The block got no good answer though others did; returns for how many seconds it is left out.

        The first time it is not: an answer may get lost.
        """
        key = (block.function, block.start, block.stop)
        silence = self._known.get(key)
        if silence is None:
            self._known[key] = _Silence(now, quality)
            return 0.0
        silence.quality = quality
        wait = silence.backoff.delay()
        silence.until = now + wait
        return wait

    def answered(self, block: Block) -> None:
        """The block is answered (again)."""
        if self._known:
            self._known.pop((block.function, block.start, block.stop), None)

    def forget(self) -> None:
        """Ask for everything again (at a reload)."""
        self._known.clear()
