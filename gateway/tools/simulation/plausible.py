"""A plausible value for any tag at any time: from its range, unit, type and name. Pure, and the same at each start."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gateway.readings import INTEGER_LIMITS, Tag

_SPANS: Final = {
    "degc": (20.0, 80.0),
    "°c": (20.0, 80.0),
    "v": (225.0, 235.0),
    "a": (2.0, 40.0),
    "ma": (4.0, 20.0),
    "w": (500.0, 6_000.0),
    "kw": (0.5, 60.0),
    "hz": (49.95, 50.05),
    "rpm": (300.0, 1_500.0),
    "bar": (1.0, 6.0),
    "percent": (20.0, 80.0),
    "%": (20.0, 80.0),
    "kg": (0.0, 25.0),
    "mm": (50.0, 400.0),
    "db": (45.0, 75.0),
    "deg": (0.0, 359.0),
}
_SPAN: Final = (10.0, 100.0)
_COUNTS: Final = re.compile(r"count|total|parts|energy|metres|meters|hours", re.IGNORECASE)
_CODES: Final = re.compile(r"fault|error|alarm|code", re.IGNORECASE)
_FASTEST_S: Final = 20.0
_SLOWEST_S: Final = 180.0


@dataclass(frozen=True)
class Signal:
    """One tag's simulated course."""

    tag: Tag

    def at(self, t: float) -> float | str:
        """The engineering value at `t` seconds: a number (booleans 0 and 1), or a text."""
        if self.tag.type == "string":
            return f"B{int(self._number * 9000) + 1000 + int(t // 60)}"
        if self.tag.type == "bool":
            share = 0.05 if _CODES.search(self.tag.name) else 0.7
            return float((t / self._period + self._number) % 1.0 < share)
        if _CODES.search(self.tag.name):
            return 0.0
        if _COUNTS.search(self.tag.name):
            return math.floor(1_000.0 * self._number + t / 4.0)
        low, high = self._span
        swing = 0.75 * math.sin(math.tau * (t / self._period + self._number))
        swing += 0.2 * math.sin(math.tau * (t / self._period * 4.3 + 7.0 * self._number))
        swing += 0.05 * math.sin(math.tau * t * 1.7)
        return (low + high) / 2.0 + (high - low) / 2.0 * swing

    def raw(self, t: float) -> float | str:
        """What the device itself holds at `t`: scaling undone, within the limits of the type."""
        value = self.at(t)
        if isinstance(value, str):
            return value
        raw = (value - self.tag.offset) / self.tag.scale
        limits = INTEGER_LIMITS.get(self.tag.type)
        return raw if limits is None else float(min(max(round(raw), limits[0]), limits[1]))

    @cached_property
    def _number(self) -> float:
        digest = hashlib.blake2b(self.tag.full_name.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / (1 << 32)

    @cached_property
    def _period(self) -> float:
        return _FASTEST_S + (_SLOWEST_S - _FASTEST_S) * self._number

    @cached_property
    def _span(self) -> tuple[float, float]:
        low, high = self.tag.low, self.tag.high
        if low is not None and high is not None:
            return low + 0.25 * (high - low), low + 0.75 * (high - low)
        low, high = _SPANS.get(self.tag.unit.lower(), _SPAN)
        if self.tag.low is not None:
            return max(low, self.tag.low), max(high, self.tag.low + 1.0)
        if self.tag.high is not None:
            return min(low, self.tag.high - 1.0), min(high, self.tag.high)
        return low, high
