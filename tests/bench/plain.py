"""What the kernels are measured against: the same work with an object per reading and per tag, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True)
class Reading:
    tag: int
    time_ns: int
    value: float
    quality: int


class Filter(Protocol):
    def feed(self, reading: Reading) -> Reading | None:
        """The reading that passes now, if any."""


class Deadband:
    """Deadband with the same rules as the kernel: quality edges, NaN, longest silences, times that go back."""

    __slots__ = ("bad_longest", "band", "code", "longest", "time_ns", "value")

    def __init__(self, band: float, longest: float = math.inf, bad_longest: float = 60e9) -> None:
        self.band = band
        self.longest = longest
        self.bad_longest = bad_longest
        self.code = -1
        self.time_ns = 0
        self.value = 0.0

    def feed(self, reading: Reading) -> Reading | None:
        value, code = reading.value, reading.quality
        if not math.isfinite(value):
            code |= 0x80
        if code == self.code:
            silence = reading.time_ns - self.time_ns
            if silence >= 0:
                if code >= 0x80:
                    if silence < self.bad_longest:
                        return None
                elif abs(value - self.value) <= self.band and silence < self.longest:
                    return None
        self.code, self.time_ns, self.value = code, reading.time_ns, value
        return reading


class Aperture:
    """Swinging door, aperture form, without any rule for odd rows: the new line must fit, else the row before goes."""

    __slots__ = ("anchor", "deviation", "high", "last", "low")

    def __init__(self, deviation: float) -> None:
        self.deviation = deviation
        self.anchor: Reading | None = None
        self.last: Reading | None = None
        self.low, self.high = -math.inf, math.inf

    def feed(self, reading: Reading) -> Reading | None:
        anchor, last = self.anchor, self.last
        if anchor is None or last is None:
            self.anchor = self.last = reading
            return reading
        scale = 1.0 / (reading.time_ns - anchor.time_ns)
        rise = reading.value - anchor.value
        self.last = reading
        if self.low <= rise * scale <= self.high:
            low, high = (rise - self.deviation) * scale, (rise + self.deviation) * scale
            self.low = max(self.low, low)
            self.high = min(self.high, high)
            return None
        self.anchor = last
        scale = 1.0 / (reading.time_ns - last.time_ns)
        rise = reading.value - last.value
        self.low, self.high = (rise - self.deviation) * scale, (rise + self.deviation) * scale
        return last


def through(filters: Mapping[int, Filter], poll: Iterable[Reading]) -> list[Reading]:
    """A poll's readings through their tags' filters."""
    kept = []
    for reading in poll:
        sent = filters[reading.tag].feed(reading)
        if sent is not None:
            kept.append(sent)
    return kept
