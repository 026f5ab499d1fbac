from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pipeline.stages.filters import decimal
from gateway.readings import Tag
from tests.bench.series import ABSENT, real_series
from tests.unit.pipeline.hostile import hostile_rows
from tests.unit.pipeline.reference import BAD, REPAIRED, Row, centred, deadband, smooth
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, rows_of, run, same

CUTS = st.lists(st.integers(0, 120), max_size=5)


@settings(max_examples=300, deadline=None)
@given(hostile_rows(), st.sampled_from([3, 5, 7, 11]), CUTS)
def test_median(rows: list[Row], window: int, cuts: list[int]) -> None:
    found = run(pipeline({"median": {"window": window}})[0], rows, cuts)
    assert same(found, deadband(centred(rows, window), -1.0))


@settings(max_examples=300, deadline=None)
@given(hostile_rows(), st.sampled_from([3, 5, 7, 11]), st.sampled_from([1.0, 3.0]), CUTS)
def test_spike(rows: list[Row], window: int, sigmas: float, cuts: list[int]) -> None:
    found = run(pipeline({"spike": {"window": window, "sigmas": sigmas}})[0], rows, cuts)
    assert same(found, deadband(centred(rows, window, sigmas), -1.0))


def test_a_spike_is_repaired_and_marked_with_its_own_time() -> None:
    values = [20.0, 20.1, 20.0, 20.1, 99.0, 20.0, 20.1, 20.0, 20.1]
    found = run(pipeline({"spike": {"window": 5, "sigmas": 3}})[0], good(values))
    assert [row for row in found if row[2]] == [(4 * SECOND, 20.1, REPAIRED)]
    assert [row[0] for row in found] == [number * SECOND for number in range(9)]


def test_a_real_step_is_no_spike() -> None:
    values = [20.0, 20.1] * 5 + [80.0, 80.1] * 5
    found = run(pipeline({"spike": {}})[0], good(values))
    assert [row[1] for row in found] == values


def test_the_deviation_of_the_last_step_is_the_least_a_spike_must_have() -> None:
    values = [20.0] * 10
    values[5] = 20.4
    marked = [run(pipeline({"spike": {}}, *last)[0], good(values)) for last in ((), ({"deadband": {"absolute": 0.5}},))]
    assert REPAIRED in [row[2] for row in marked[0]]
    assert REPAIRED not in [row[2] for row in marked[1]]


def test_one_digit_of_a_whole_number_is_no_spike() -> None:
    values = [200.0] * 10
    values[5] = 201.0
    found = run(pipeline({"spike": {}}, tag=Tag("press", "t", "int16"))[0], good(values))
    assert all(row[2] == 0 for row in found)


def test_a_row_waits_half_a_window() -> None:
    line, _ = pipeline({"spike": {"window": 5}})
    left = [len(rows_of(line.process(readings([row])))) for row in good(range(8))]
    assert left == [1, 1, 0, 0, 1, 1, 1, 1]
    assert len(rows_of(line.flush())) == 2
    assert rows_of(line.flush()) == []


def test_a_bad_row_lets_what_waits_out_first() -> None:
    rows = [*good([1.0, 2.0, 3.0, 4.0]), (4 * SECOND, math.nan, 0x81), *good([5.0, 6.0, 7.0], start_ns=5 * SECOND)]
    found = run(pipeline({"median": {"window": 3}})[0], rows)
    assert [row[0] // SECOND for row in found] == list(range(8))
    assert found[3][1] == 4.0


@settings(max_examples=200, deadline=None)
@given(hostile_rows(), CUTS)
def test_smooth(rows: list[Row], cuts: list[int]) -> None:
    found = run(pipeline({"smooth": {"time_constant": "2s"}})[0], rows, cuts)
    wanted = deadband(smooth(rows, 2e9), -1.0)
    assert [(t, q) for t, _, q in found] == [(t, q) for t, _, q in wanted]
    values, plain = (np.array([row[1] for row in part]) for part in (found, wanted))
    np.testing.assert_allclose(values, plain, rtol=1e-9, atol=1e-9)


def test_smooth_reaches_63_percent_after_its_time_constant_however_it_is_sampled() -> None:
    for every in (SECOND, SECOND // 10):
        values = [0.0] + [1.0] * (10 * SECOND // every)
        found = run(pipeline({"smooth": {"time_constant": "10s"}})[0], good(values, every))
        assert found[-1][1] == pytest.approx(1 - math.exp(-1))


def test_one_bad_row_does_not_poison_the_filter() -> None:
    rows = [*good([5.0] * 3), (3 * SECOND, math.nan, 0), *good([5.0] * 3, start_ns=4 * SECOND)]
    found = run(pipeline({"smooth": {"time_constant": "2s"}})[0], rows)
    assert [row[1] for row in found if row[0] != 3 * SECOND] == [5.0] * 6


def test_smoothed_values_are_short_decimals_below_the_bound() -> None:
    random = np.random.default_rng(1).normal(size=200)
    last = {"deadband": {"absolute": 0.5}}
    found = run(pipeline({"smooth": {"time_constant": "5s"}}, last)[0], good(random.tolist()))
    assert len(found) > 1
    assert all(row[1] == round(row[1], 2) for row in found)


@pytest.mark.parametrize(
    ("step", "inverse"), [(0.0, 0.0), (0.03, 100.0), (0.01, 100.0), (1.0, 1.0), (9.0, 1.0), (31.0, -10.0), (1e-30, 0.0)]
)
def test_decimal_steps(step: float, inverse: float) -> None:
    assert decimal(step) == inverse


def test_real_series() -> None:
    found = real_series()
    if not found:
        pytest.skip(ABSENT)
    for time_ns, value in found.values():
        rows = [(t, v, 0) for t, v in zip(time_ns[:3000].tolist(), value[:3000].tolist(), strict=True)]
        sent = run(pipeline({"spike": {}})[0], rows, range(0, len(rows), 500))
        assert same(sent, centred(rows, 5, 3.0))
        assert not any(row[2] >= BAD for row in sent)
