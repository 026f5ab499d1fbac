from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pipeline.engine import Pipeline
from gateway.readings import Readings, TagTable
from tests.unit.pipeline.reference import BAD, Row
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, rows_of

ALL = ["min", "max", "mean", "std", "count", "last", "integral"]
TEN = 10 * SECOND


def aggregate(words: list[str] = ALL, **more: Any) -> dict[str, Any]:
    return {"aggregate": {"every": "10s", "compute": words, **more}}


def named(found: Readings, table: TagTable) -> dict[str, list[Row]]:
    return {tag.name: rows_of(found, index) for index, tag in enumerate(table) if (found.tag == index).any()}


def through(line: Pipeline, rows: list[Row]) -> Readings:
    return line.process(readings(rows))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9_000_000_000), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    st.integers(0, 60),
)
def test_statistics_against_numpy(walk: list[tuple[int, float]], cut: int) -> None:
    times = np.cumsum([step for step, _ in walk]) + 1_700_000_000 * SECOND
    rows = [(int(t), v, 0) for t, (_, v) in zip(times, walk, strict=True)]
    rows.append((rows[-1][0] // TEN * TEN + TEN, 0.0, 0))
    line, table = pipeline(aggregate())
    parts = [through(line, part) for part in (rows[:cut], rows[cut:]) if part]
    found = named(Readings.join(parts), table)
    windows = sorted({t // TEN for t, _, _ in rows[:-1]})
    rest = {f"t.{word}": [row for row in found[f"t.{word}"] if row[2] < BAD] for word in ALL}
    for number, window in enumerate(windows):
        inside = [v for t, v, _ in rows[:-1] if t // TEN == window]
        wanted = {
            "min": min(inside),
            "max": max(inside),
            "last": inside[-1],
            "count": len(inside),
            "std": float(np.std(inside, ddof=1)) if len(inside) > 1 else 0.0,
        }
        area, covered = _area(rows, window * TEN, window * TEN + TEN)
        wanted |= {"integral": area, "mean": area / covered if covered else float(np.mean(inside))}
        for word, value in wanted.items():
            mine = [row for row in rest[f"t.{word}"] if row[0] == window * TEN + TEN and (word != "count" or row[1])]
            assert len(mine) == 1, (word, number)
            assert mine[0][1] == pytest.approx(value, rel=1e-6, abs=1e-3), word


def _area(rows: list[Row], start: int, end: int) -> tuple[float, float]:
    area = covered = 0.0
    for (t0, v0, _), (t1, v1, _) in pairwise(rows):
        left, right = max(t0, start), min(t1, end)
        if right > left:
            ends = [v0 + (v1 - v0) * (t - t0) / (t1 - t0) for t in (left, right)]
            area += sum(ends) / 2 * (right - left) * 1e-9
            covered += (right - left) * 1e-9
    return area, covered


def test_windows_lie_on_the_utc_grid_half_open_and_are_stamped_with_their_end() -> None:
    line, table = pipeline(aggregate(["count", "last"]))
    found = named(through(line, good(range(21), start_ns=3 * SECOND)), table)
    assert found["t.count"] == [(TEN, 7.0, 0), (2 * TEN, 10.0, 0)]
    assert found["t.last"] == [(TEN, 6.0, 0), (2 * TEN, 16.0, 0)]


def test_readings_go_on_unless_raw_is_false() -> None:
    for raw in (True, False):
        line, table = pipeline(aggregate(["min"], raw=raw))
        assert ("t" in named(through(line, good(range(30))), table)) == raw


def test_a_tick_closes_a_window_two_seconds_after_its_end() -> None:
    line, table = pipeline(aggregate(["max"]))
    through(line, good(range(5)))
    assert not len(line.tick(TEN + SECOND))
    assert named(line.tick(TEN + 2 * SECOND), table) == {"t.max": [(TEN, 4.0, 0)]}
    assert not len(line.tick(TEN + 3 * SECOND))


def test_a_window_without_usable_readings_is_bad_and_said_once_a_minute() -> None:
    line, table = pipeline(aggregate(["mean", "count"]))
    through(line, good(range(5)))
    parts = [line.tick(t * SECOND) for t in range(10, 200)]
    found = named(Readings.join(parts), table)
    assert [(t // SECOND, q) for t, _, q in found["t.mean"]] == [(10, 0), (20, 0x86), (80, 0x86), (140, 0x86)]
    assert found["t.count"][1] == (2 * TEN, 0.0, 0)
    back = named(through(line, good([1.0, 2.0], TEN, start_ns=205 * SECOND)), table)
    assert [(t // SECOND, q) for t, _, q in back["t.mean"]][-1] == (210, 0)


def test_bad_rows_do_not_count_and_no_trapezoid_reaches_across() -> None:
    rows = [*good([1.0, 1.0]), (2 * SECOND, math.nan, 0x81), *good([9.0, 9.0], start_ns=3 * SECOND), (TEN, 0.0, 0)]
    line, table = pipeline(aggregate(["count", "integral", "min"]))
    found = named(through(line, rows), table)
    assert found["t.count"] == [(TEN, 4.0, 0)]
    assert found["t.min"] == [(TEN, 1.0, 0)]
    assert found["t.integral"][0][1] == pytest.approx(1.0 + 9.0 + 27.0)


def test_the_mean_is_weighted_by_time() -> None:
    rows: list[Row] = [(0, 0.0, 0), (8 * SECOND, 0.0, 0), (8 * SECOND + 1, 10.0, 0), (TEN, 10.0, 0)]
    line, table = pipeline(aggregate(["mean"]))
    assert named(through(line, rows), table)["t.mean"][0][1] == pytest.approx(2.0)


def test_one_uncertain_reading_makes_the_results_uncertain() -> None:
    rows = good(range(11))
    rows[4] = (rows[4][0], rows[4][1], 0x49)
    line, table = pipeline(aggregate(["max"]))
    assert named(through(line, rows), table)["t.max"] == [(TEN, 9.0, 0x49)]


def test_the_deviation_of_small_noise_on_a_large_mean() -> None:
    noise = np.random.default_rng(1).normal(1e6, 1e-3, 1000)
    line, table = pipeline(aggregate(["std"]))
    found = named(through(line, good(noise.tolist(), SECOND // 100)), table)
    assert found == {"t": rows_of(readings(good(noise.tolist(), SECOND // 100)))}
    (row,) = named(line.tick(100 * SECOND), table)["t.std"][:1]
    assert row[1] == pytest.approx(np.std(noise, ddof=1), rel=1e-3)


def test_a_flush_gives_what_is_there_with_its_own_time_and_mark() -> None:
    line, table = pipeline(aggregate(["max"]))
    through(line, good(range(15)))
    assert named(line.flush(), table) == {"t.max": [(14 * SECOND, 14.0, 0x46)]}
    assert not len(line.flush())


def test_a_late_reading_is_left_out_and_a_clock_set_back_starts_anew() -> None:
    line, table = pipeline(aggregate(["count"]))
    through(line, good([0.0] * 12))
    through(line, [(9 * SECOND, 0.0, 0)])
    found = named(through(line, [(2 * TEN, 0.0, 0)]), table)
    assert found["t.count"] == [(2 * TEN, 2.0, 0)]
    hour = 3600 * SECOND
    through(line, good([0.0] * 3, start_ns=hour))
    again = named(through(line, good([0.0] * 11, start_ns=TEN)), table)
    assert again["t.count"] == [(hour + 2 * SECOND, 3.0, 0x46), (2 * TEN, 10.0, 0)]


def test_a_long_gap_costs_two_rows_not_thousands() -> None:
    line, table = pipeline(aggregate(["count"]))
    through(line, good([0.0] * 5))
    found = named(through(line, good([0.0], start_ns=7 * 86400 * SECOND)), table)
    assert [row[1] for row in found["t.count"]] == [5.0, 0.0]
