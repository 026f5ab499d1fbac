from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.optimum import optimum, strictly_rising, three_sigma, worst_error
from tests.bench.series import ABSENT, real_series
from tests.unit.pipeline.hostile import check_kept, hostile_rows, noisy_rows
from tests.unit.pipeline.reference import MINUTE, Row, SwingingDoor
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, rows_of, run, same

DAY = 86400 * SECOND
DEVIATIONS = st.sampled_from([1e-3, 0.25, 0.5, 3.0, 1e6])
INTERVALS = st.sampled_from([None, "1ms", "2s", "7s", "1h"])
LENGTHS = {None: DAY, "1ms": SECOND // 1000, "2s": 2 * SECOND, "7s": 7 * SECOND, "1h": 3600 * SECOND}


def door(deviation: float | str, interval: str | None = None) -> dict[str, Any]:
    given = {} if interval is None else {"max_interval": interval}
    return {"swinging-door": {"deviation": deviation, **given}}


def kept(values: list[float] | np.ndarray[Any, Any], deviation: float, interval: str | None = None) -> list[Row]:
    return run(pipeline(door(deviation, interval))[0], good(np.asarray(values, np.float64).tolist()))


@settings(max_examples=400, deadline=None)
@given(hostile_rows(), DEVIATIONS, INTERVALS, st.lists(st.integers(0, 120), max_size=5))
def test_the_bound_holds_on_every_series(
    rows: list[Row], deviation: float, interval: str | None, cuts: list[int]
) -> None:
    found = run(pipeline(door(deviation, interval))[0], rows, cuts)
    bad = MINUTE if interval is None else LENGTHS[interval]
    check_kept(rows, found, deviation, LENGTHS[interval], bad)


@settings(max_examples=400, deadline=None)
@given(hostile_rows(), DEVIATIONS, INTERVALS, st.lists(st.integers(0, 120), max_size=5))
def test_it_keeps_what_the_plain_method_keeps(
    rows: list[Row], deviation: float, interval: str | None, cuts: list[int]
) -> None:
    bad = MINUTE if interval is None else LENGTHS[interval]
    reference = SwingingDoor(deviation, LENGTHS[interval], bad)
    for row in rows:
        reference.feed(row)
    reference.finish()
    assert same(run(pipeline(door(deviation, interval))[0], rows, cuts), reference.sent)


@pytest.mark.parametrize("interval", [None, "7s"])
def test_noisy_series_stay_within_the_bound_and_go_the_plain_way(interval: str | None) -> None:
    bad = MINUTE if interval is None else LENGTHS[interval]
    for seed in range(150):
        rows = noisy_rows(seed)
        found = run(pipeline(door(0.5, interval))[0], rows, range(0, len(rows), 37))
        check_kept(rows, found, 0.5, LENGTHS[interval], bad)
        reference = SwingingDoor(0.5, LENGTHS[interval], bad)
        for row in rows:
            reference.feed(row)
        reference.finish()
        assert same(found, reference.sent), seed


@settings(max_examples=50, deadline=None)
@given(hostile_rows(), st.integers(0, 120))
def test_a_flush_in_between_ends_the_run(rows: list[Row], cut: int) -> None:
    line, _ = pipeline(door(0.5))
    first = run(line, rows[:cut])
    check_kept(rows[:cut], first, 0.5, DAY, MINUTE)
    check_kept(rows[cut:], run(line, rows[cut:]), 0.5, DAY, MINUTE)


def test_a_straight_line_is_its_ends() -> None:
    assert [row[0] // SECOND for row in kept(np.arange(1000) * 0.1, 0.5)] == [0, 999]


def test_the_first_reading_passes_at_once() -> None:
    line, _ = pipeline(door(0.5))
    assert rows_of(line.process(readings(good([7.0])))) == [(0, 7.0, 0)]


def test_one_reading_lies_between_a_step_and_its_recognition() -> None:
    assert [row[1] for row in kept([0.0] * 50 + [10.0] * 50, 0.5)] == [0.0, 0.0, 10.0, 10.0]


def test_a_spike_costs_three_readings() -> None:
    values = [0.0] * 100
    values[50] = 9.0
    assert [row[0] // SECOND for row in kept(values, 0.5)] == [0, 49, 50, 51, 99]


def test_a_flat_tag_speaks_once_per_interval() -> None:
    assert [row[0] // SECOND for row in kept([1.0] * 35, 0.5, "10s")] == [0, 10, 20, 30, 34]


def test_a_reading_after_a_gap_passes_at_once() -> None:
    line, _ = pipeline(door(0.5, "10s"))
    line.process(readings([(0, 1.0, 0)]))
    assert rows_of(line.process(readings([(11 * SECOND, 1.0, 0)]))) == [(11 * SECOND, 1.0, 0)]


def test_a_vertical_step_keeps_both_ends() -> None:
    rows = [(0, 0.0, 0), (0, 5.0, 0), (0, 5.1, 0), (SECOND, 5.0, 0)]
    assert run(pipeline(door(0.5))[0], rows) == [rows[0], rows[1], rows[3]]


def test_time_that_goes_back_starts_a_new_run_at_once() -> None:
    line, _ = pipeline(door(0.5))
    rows = good([0.0] * 5)
    line.process(readings(rows))
    assert rows_of(line.process(readings([(SECOND, 0.0, 0)]))) == [rows[4], (SECOND, 0.0, 0)]


def test_quality_edges_pass_and_end_runs() -> None:
    rows = good([0.0] * 30)
    rows[10:20] = [(t, v, 0x49) for t, v, _ in rows[10:20]]
    assert [row[0] // SECOND for row in run(pipeline(door(0.5))[0], rows)] == [0, 9, 10, 19, 20, 29]


def test_a_bad_run_speaks_once_a_minute() -> None:
    rows = [*good([0.0] * 5), *((t * SECOND, math.nan, 0x81) for t in range(5, 200)), (200 * SECOND, 0.0, 0)]
    found = run(pipeline(door(0.5))[0], rows)
    assert [row[0] // SECOND for row in found] == [0, 4, 5, 65, 125, 185, 200]


def test_rows_of_a_tag_leave_in_their_order() -> None:
    noise = np.random.default_rng(1).normal(size=5000)
    found = kept(noise, 2.0)
    assert [row[0] for row in found] == sorted(row[0] for row in found)


@pytest.mark.parametrize("shape", ["square", "ramp", "wrap", "burst"])
def test_made_series_stay_within_the_bound(shape: str) -> None:
    number = np.arange(2000)
    values = {
        "square": np.where(number // 37 % 2 == 0, 0.0, 10.0),
        "ramp": number * 0.37 % 50.0,
        "wrap": (number * 977 % 65536).astype(float),
        "burst": np.where(number % 400 < 5, math.nan, np.sin(number / 30.0)),
    }[shape]
    rows = good(values)
    check_kept(rows, run(pipeline(door(0.3))[0], rows), 0.3, DAY, MINUTE)


def test_real_series_stay_within_the_bound_and_near_the_optimum() -> None:
    found = real_series()
    if not found:
        pytest.skip(ABSENT)
    ratios: list[float] = []
    for name, raw in found.items():
        series = strictly_rising(raw)
        span = float(np.ptp(series[1])) or 1.0
        for deviation in (0.01 * span, 0.02 * span, 0.05 * span, three_sigma(series[1])):
            rows = [(t, v, 0) for t, v in zip(*(column.tolist() for column in series), strict=True)]
            sent = run(pipeline(door(deviation, "3650d"))[0], rows)
            columns = np.array([row[0] for row in sent], np.int64), np.array([row[1] for row in sent])
            assert worst_error(series, columns) <= deviation * (1 + 1e-9), name
            fewest = optimum(*series, deviation, 3650 * DAY)
            if fewest >= 20:
                ratios.append(len(sent) / fewest)
    assert float(np.median(ratios)) <= 1.5
    assert max(ratios) <= 2.5


def test_real_series_with_steps_of_the_clock() -> None:
    found = real_series()
    if not found:
        pytest.skip(ABSENT)
    for name in ("machine_temperature_system_failure", "ambient_temperature_system_failure", "art_flatline"):
        time_ns, value = (column[:6000] for column in found[name])
        rows = [(t, v, 0) for t, v in zip(time_ns.tolist(), value.tolist(), strict=True)]
        check_kept(rows, run(pipeline(door(0.5))[0], rows), 0.5, DAY, MINUTE)


def test_auto_estimates_the_noise() -> None:
    line, _ = pipeline(door("auto"))
    noise = np.random.default_rng(3).normal(scale=0.2, size=20_000)
    trend = np.sin(np.arange(noise.size) / 3000.0) * 20.0
    found = run(line, good(noise + trend), range(100, noise.size, 100))
    (deviation,) = line.deviations().values()
    assert deviation == pytest.approx(0.6, rel=0.25)
    assert len(found) < 0.05 * noise.size
    assert len([row for row in found if row[0] < 64 * SECOND]) == 64
    assert same(found, run(pipeline(door("auto"))[0], good(noise + trend)))


def test_auto_follows_the_noise_slowly() -> None:
    line, _ = pipeline(door("auto"))
    random = np.random.default_rng(3)
    quiet, loud = random.normal(scale=0.1, size=5000), random.normal(scale=1.0, size=5000)
    run(line, good(quiet), flush=False)
    before = line.deviations()[0]
    run(line, good(loud[:64], start_ns=5000 * SECOND), flush=False)
    assert before < line.deviations()[0] < 1.5
    run(line, good(loud[64:], start_ns=5064 * SECOND))
    assert line.deviations()[0] == pytest.approx(3.0, rel=0.25)


def test_auto_uses_the_resolution_where_values_mostly_repeat() -> None:
    line, _ = pipeline(door("auto"))
    values = np.where(np.arange(1000) // 40 % 2 == 0, 20.5, 20.6)
    run(line, good(values))
    assert line.deviations()[0] == pytest.approx(0.1)
