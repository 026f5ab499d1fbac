"""Values at both ends of float64, as a wrong byte order gives them: what no float64 can hold is no good reading."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pipeline.kernels import anomaly
from gateway.readings import Quality, Readings
from tests.unit.pipeline.reference import BAD, REPAIRED, Row
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, run

VALUES = st.sampled_from([1.7e308, -1.7e308, 1e300, -1e300, 1e155, 5e-324, -5e-324, 0.0, -0.0, 1.0, 3.5])
SERIES = st.lists(st.tuples(st.sampled_from([0, 1, SECOND, SECOND, 7 * SECOND, -SECOND]), VALUES), max_size=60)


def rows_of(series: list[tuple[int, float]]) -> list[Row]:
    times = 1_700_000_000 * SECOND + np.cumsum([step for step, _ in series], dtype=np.int64)
    return [(int(time), value, 0) for time, (_, value) in zip(times, series, strict=True)]


@pytest.mark.parametrize(
    "step",
    [
        {"spike": {}},
        {"median": {}},
        {"smooth": {"time_constant": "2s"}},
        {"rate": {"per": "1h"}},
        {"counter": {"bits": 16}},
        {"aggregate": {"every": "10s", "compute": ["min", "max", "mean", "std", "count", "last", "integral"]}},
        {"vibration": {"window": 8, "bands": {"low": {"low": 0, "high": 1}}}},
        {"anomaly": {}},
        {"deadband": {"absolute": 1}},
        {"swinging-door": {"deviation": 1}},
        {"swinging-door": {"deviation": "auto"}},
    ],
    ids=str,
)
@settings(max_examples=60, deadline=None)
@given(series=SERIES)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_whatever_leaves_as_good_is_a_number(step: dict[str, Any], series: list[tuple[int, float]]) -> None:
    line, _ = pipeline(step)
    rows = rows_of(series)
    left = Readings.join(
        [line.process(readings(rows)), line.tick(rows[-1][0] + 60 * SECOND if rows else 0), line.flush()]
    )
    assert np.isfinite(left.value[left.quality < BAD]).all()


def test_a_filter_finds_back_from_the_end_of_the_scale() -> None:
    values = [5.0, 1.7e308, -1.7e308, *[5.0] * 30]
    found = run(pipeline({"smooth": {"time_constant": "1ms"}})[0], good(values))
    assert [row[1] for row in found[-10:]] == [5.0] * 10


def test_large_numbers_are_not_rounded_away() -> None:
    found = run(pipeline({"smooth": {"time_constant": "1ms"}}, {"deadband": {"absolute": 1e-9}})[0], good([1e300] * 3))
    assert found == [(0, 1e300, 0)]


def test_scores_stay_numbers_and_state_stays_finite() -> None:
    random = np.random.default_rng(1)
    rows = 2000
    value = random.choice([1.7e308, -1.7e308, 1e300, 5e-324, 0.0, 1.0], rows)
    state = anomaly.fresh(1)
    scored, score, quality = np.empty(rows, np.int64), np.empty(rows), np.empty(rows, np.uint8)
    none = np.zeros(rows, np.uint8)
    times = np.arange(rows, dtype=np.int64) * SECOND
    tag, slot = np.zeros(rows, np.uint32), np.zeros(1, np.int32)
    count = anomaly.score(tag, times, value, none, slot, anomaly.parameters(), state, scored, score, quality)
    assert count == rows
    assert np.isfinite(score).all()
    assert np.isfinite(state).all()


def test_a_counter_that_falls_by_more_than_its_range_was_reset() -> None:
    """A range of 16 bits is configured, the device counts with 32."""
    found = run(pipeline({"counter": {"bits": 16}})[0], good([1_000_000, 1_000_010, 0, 5]))
    assert [row[1:] for row in found] == [(1_000_000.0, 0), (1_000_010.0, 0), (1_000_010.0, REPAIRED), (1_000_015.0, 0)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**20), max_size=40))
def test_a_total_never_falls(counts: list[int]) -> None:
    found = run(pipeline({"counter": {"bits": 16}})[0], good(counts))
    totals = [row[1] for row in found]
    assert totals == sorted(totals)


def test_a_noise_that_cannot_be_told_opens_no_door() -> None:
    """With an infinite deviation nothing would ever be sent."""
    wild = good([1.7e308, -1.7e308] * 100)
    line, _ = pipeline({"swinging-door": {"deviation": "auto"}})
    run(line, wild, flush=False)
    assert math.isfinite(line.deviations()[0])
    calm = good(np.random.default_rng(2).normal(size=400).tolist(), start_ns=1000 * SECOND)
    run(line, calm, flush=False)
    assert 1.0 < line.deviations()[0] < 6.0


def test_results_beyond_float64_are_bad_and_the_next_window_is_good() -> None:
    line, table = pipeline({"aggregate": {"every": "10s", "compute": ["std"]}})
    left = line.process(readings([*good([1.7e308, -1.7e308] * 5), *good([1.0] * 11, start_ns=10 * SECOND)]))
    mine = left.where(left.tag == table.index("press.t.std"))
    assert mine.quality.tolist() == [Quality.BAD_DECODE, Quality.GOOD]


def test_features_beyond_float64_are_bad_and_the_others_good() -> None:
    line, table = pipeline({"vibration": {"window": 8}})
    left = line.process(readings(good([1e200, -1e200] * 4)))
    found = {table[tag].name: quality for tag, quality in zip(left.tag.tolist(), left.quality.tolist(), strict=True)}
    assert found["t.peak"] == Quality.GOOD
    assert found["t.rms"] == found["t.kurtosis"] == Quality.BAD_DECODE
