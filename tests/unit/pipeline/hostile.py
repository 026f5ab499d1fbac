"""Series as bad as a plant can send them, for hypothesis."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from tests.unit.pipeline.reference import BAD, Row, code_of, usable

_STEPS = st.sampled_from([0, 0, 1, 1000, 10**8, 10**9, 10**9, 10**9, 10**9, 1_500_000_001, 5 * 10**9, 3600 * 10**9])
_BACK = st.sampled_from([-1, -(10**9), -(10**12)])
_JUMPS = st.sampled_from([0.0, 0.0, 0.1, -0.1, 0.49, -0.51, 1.0, 2.0, -7.3, 1e6, -1e6])
_NOISE = st.floats(-1.0, 1.0, width=32)
_ODD = st.sampled_from([math.nan, math.inf, -math.inf, 1e300, -1e300, 1.7e308, -1.7e308, 1e15, 0.0, -0.0, 5e-324])
_QUALITIES = st.sampled_from([0, 0x46, 0x49, 0x81, 0x82, 0x84])
_EVENT = st.integers(0, 99)


@st.composite
def hostile_rows(draw: st.DrawFn, most: int = 120) -> list[Row]:
    """Ramps, steps, noise, repeats, gaps, times that stand or go back, NaN, infinities, quality that flaps."""
    t, level, slope, quality = 1_700_000_000 * 10**9, draw(_JUMPS), 0.0, 0
    rows: list[Row] = []
    for event in draw(st.lists(_EVENT, max_size=most)):
        t += draw(_BACK) if event < 3 else draw(_STEPS)
        if event < 10:
            level += draw(_JUMPS)
        elif event < 15:
            slope = draw(_JUMPS) / 3
        elif event < 22:
            quality = draw(_QUALITIES) if quality == 0 else 0
        level += slope
        value = draw(_ODD) if event > 92 else level + draw(_NOISE) * 0.4 if event > 50 else level
        rows.append((t, value, quality))
    return rows


def noisy_rows(seed: int, most: int = 300) -> list[Row]:
    """Noise about as large as a deviation of 0.5 on a wandering level, with a few of the other oddities."""
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, most))
    even = random.random() < 0.5
    gaps = np.full(rows, 10**9) if even else random.choice([0, 1, 10**8, 10**9, 10**9, 10**9, 4 * 10**9], rows)
    gaps = np.where(random.random(rows) < 0.004, random.choice([-1, -(10**9), 100 * 10**9], rows), gaps)
    noise = random.choice([0.05, 0.2, 0.3, 0.5, 1.0]) * random.normal(size=rows)
    level = np.cumsum(random.normal(size=rows) * random.choice([0.0, 0.0, 0.02, 0.1, 0.4]))
    spikes = np.where(random.random(rows) < 0.01, random.normal(size=rows) * 20, 0.0)
    value = noise + level + spikes
    value[random.random(rows) < 0.002] = math.nan
    quality = np.where(np.cumsum(random.random(rows) < 0.01) % 4 == 3, 0x49, 0)
    times = 1_700_000_000 * 10**9 + np.cumsum(gaps)
    return list(zip(times.tolist(), value.tolist(), quality.tolist(), strict=True))


def check_kept(rows: list[Row], kept: list[Row], bound: float, longest: float, bad_longest: float) -> None:
    """Kept rows are rows in order; every dropped one is reconstructed within the bound, in exact arithmetic."""
    places = _places(rows, kept)
    if rows:
        assert places[0] == 0, "the first row passes"
    limit = Fraction(bound) * (1 + Fraction(1, 10**9))
    for number, place in enumerate(places):
        following = places[number + 1] if number + 1 < len(places) else None
        for dropped in range(place + 1, len(rows) if following is None else following):
            _check_dropped(
                rows[dropped], rows[place], None if following is None else rows[following], limit, longest, bad_longest
            )


def _places(rows: list[Row], kept: list[Row]) -> list[int]:
    places: list[int] = []
    at = 0
    for row in kept:
        while not (rows[at][0] == row[0] and rows[at][2] == row[2] and repr(rows[at][1]) == repr(row[1])):
            at += 1
        places.append(at)
        at += 1
    return places


def _check_dropped(row: Row, before: Row, after: Row | None, limit: Fraction, longest: float, bad: float) -> None:
    assert code_of(row) == code_of(before), "a quality edge passes"
    if code_of(row) >= BAD:
        assert 0 <= row[0] - before[0] < bad
        return
    assert usable(before)
    if row[0] == before[0]:
        assert abs(Fraction(row[1]) - Fraction(before[1])) <= limit
        return
    assert after is not None, "a flush sends the last row"
    assert code_of(after) == code_of(before), "the last row of a run passes"
    assert before[0] < row[0] <= after[0]
    assert after[0] - before[0] <= longest
    share = Fraction(row[0] - before[0], after[0] - before[0])
    line = Fraction(before[1]) + share * (Fraction(after[1]) - Fraction(before[1]))
    assert abs(line - Fraction(row[1])) <= limit
