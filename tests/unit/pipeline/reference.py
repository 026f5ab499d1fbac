"""The steps for a single tag, row by row, in plain Python: what the kernels are checked against."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

Row = tuple[int, float, int]  # time ns, value, quality
BAD = 0x80
REPAIRED = 0x47
MINUTE = 60_000_000_000


def usable(row: Row) -> bool:
    return row[2] < BAD and math.isfinite(row[1])


def code_of(row: Row) -> int:
    """The quality that makes a run; bad rows are one, whatever the reason."""
    return row[2] if usable(row) else BAD


def deadband(rows: Iterable[Row], band: float, longest: float = math.inf, bad_longest: float = MINUTE) -> list[Row]:
    sent: list[Row] = []
    for row in rows:
        if sent and code_of(row) == code_of(sent[-1]) and row[0] >= sent[-1][0]:
            silence = row[0] - sent[-1][0]
            if usable(row) and abs(row[1] - sent[-1][1]) <= band and silence < longest:
                continue
            if not usable(row) and silence < bad_longest:
                continue
        sent.append(row)
    return sent


@dataclass
class SwingingDoor:
    """Holds all pending rows, and tries every line anew instead of keeping a wedge."""

    deviation: float
    longest: float = math.inf
    bad_longest: float = MINUTE
    ring: int = 16
    sent: list[Row] = field(default_factory=list)
    covered: list[Row] = field(default_factory=list)  # rows since the anchor, all of them
    pending: list[Row] = field(default_factory=list)

    def feed(self, row: Row) -> None:
        last = self.covered[-1] if self.covered else self.sent[-1] if self.sent else None
        if last is None or code_of(row) != code_of(last) or row[0] < last[0]:
            self.finish()
            self.sent.append(row)
        elif not usable(row):
            if row[0] - last[0] >= self.bad_longest:
                self.sent.append(row)
        else:
            self._take([row])

    def finish(self) -> None:
        while self.pending:
            self._close([])

    def _anchor(self, row: Row) -> None:
        self.sent.append(row)
        self.covered, self.pending = [], []

    def _close(self, later: list[Row]) -> None:
        feasible, *after = self.pending
        self._anchor(feasible)
        self._take([*after, *later])

    def _margin(self, row: Row) -> float:
        return self.deviation - 8 * 2.0**-52 * max(abs(row[1]), abs(self.sent[-1][1]))

    def _wedge(self) -> tuple[float, float]:
        low, high = -math.inf, math.inf
        for row in self.covered:
            scale = 1.0 / float(row[0] - self.sent[-1][0])
            rise = row[1] - self.sent[-1][1]
            low = max(low, (rise - self._margin(row)) * scale)
            high = min(high, (rise + self._margin(row)) * scale)
        return low, high

    def _take(self, rows: list[Row]) -> None:
        while rows:
            row, *rest = rows
            anchor = self.sent[-1]
            span, rise = row[0] - anchor[0], row[1] - anchor[1]
            if span == 0 and abs(rise) <= self.deviation:
                rows = rest
                continue
            if span == 0 or self._margin(row) <= 0.0 or span > self.longest:
                if self.pending:
                    self._close(rows)
                    return
                self._anchor(row)
                rows = rest
                continue
            low, high = self._wedge()
            feasible = low * float(span) <= rise <= high * float(span)
            self.covered.append(row)
            if feasible and span >= self.longest:
                self._anchor(row)
            elif feasible:
                self.pending = [row]
            else:
                self.pending.append(row)
                low, high = self._wedge()
                if low > high or len(self.pending) >= self.ring - 1:
                    self._close(rest)
                    return
            rows = rest


def centred(rows: Iterable[Row], window: int, sigmas: float = 0.0, floor: float = 0.0) -> list[Row]:
    """Median (sigmas 0) or Hampel filter; the order is that of leaving, which is the order of arrival."""
    runs: list[list[Row]] = []
    for row in rows:
        last = runs[-1][-1] if runs else None
        if last is None or not usable(row) or not usable(last) or row[0] < last[0]:
            runs.append([])
        runs[-1].append(row)
    half = window // 2
    out: list[Row] = []
    for run in runs:
        for number, row in enumerate(run):
            around = [value for _, value, _ in run[number - half : number + half + 1]]
            if number < half or number + half >= len(run):
                out.append(row)
                continue
            middle = median(around)
            limit = max(sigmas * 1.4826 * median(abs(value - middle) for value in around), floor)
            if sigmas and abs(row[1] - middle) > limit:
                out.append((row[0], middle, REPAIRED))
            else:
                out.append(row if sigmas else (row[0], middle, row[2]))
    return out


def smooth(rows: Iterable[Row], constant_ns: float) -> list[Row]:
    out: list[Row] = []
    state: tuple[int, float] | None = None
    for row in rows:
        if not usable(row):
            state = None
            out.append(row)
            continue
        if state is None:
            state = row[0], row[1]
        elif row[0] > state[0]:
            share = -math.expm1(-(row[0] - state[0]) / constant_ns)
            rise = row[1] - state[1]
            state = row[0], state[1] + share * rise if math.isfinite(rise) else row[1]
        out.append((row[0], state[1], row[2]))
    return out


def counter(rows: Iterable[Row], bits: int) -> list[Row]:
    out: list[Row] = []
    last = total = 0.0
    started = False
    for row in rows:
        if not usable(row):
            out.append(row)
            continue
        quality = row[2]
        if not started:
            total = row[1]
        else:
            forward = (row[1] - last) % 2.0**bits
            if forward <= 2.0**bits / 2:
                total += forward
            else:
                quality = REPAIRED
                total += row[1] if row[1] < last else 0.0
        started, last = True, row[1]
        out.append((row[0], total, quality))
    return out


def rate(rows: Iterable[Row], per_ns: float) -> list[Row]:
    out: list[Row] = []
    last: Row | None = None
    for row in rows:
        if not usable(row):
            last = None
            out.append(row)
            continue
        if last is not None and row[0] > last[0]:
            change = (row[1] - last[1]) / (row[0] - last[0]) * per_ns
            if math.isfinite(change):
                out.append((row[0], change, row[2]))
        last = row
    return out
