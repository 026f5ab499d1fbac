from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.readings import Tag, text_hash
from tests.bench.series import ABSENT, real_series
from tests.unit.pipeline.hostile import hostile_rows
from tests.unit.pipeline.reference import MINUTE, Row, code_of, deadband, usable
from tests.unit.pipeline.rows import SECOND, good, pipeline, run, same

CUTS = st.lists(st.integers(0, 120), max_size=5)


@settings(max_examples=300, deadline=None)
@given(hostile_rows(), st.sampled_from([0.25, 0.5, 3.0, 1e6]), CUTS)
def test_deadband_passes_what_the_plain_method_passes(rows: list[Row], band: float, cuts: list[int]) -> None:
    found = run(pipeline({"deadband": {"absolute": band}})[0], rows, cuts)
    assert same(found, deadband(rows, band))


@settings(max_examples=300, deadline=None)
@given(hostile_rows(), CUTS)
def test_a_holding_receiver_is_never_further_off_than_the_band(rows: list[Row], cuts: list[int]) -> None:
    found = iter(run(pipeline({"deadband": {"absolute": 0.5}})[0], rows, cuts))
    held: Row | None = None
    ahead = next(found, None)
    for row in rows:
        if ahead is not None and same([row], [ahead]):
            held, ahead = row, next(found, None)
        assert held is not None
        assert code_of(held) == code_of(row)
        if usable(row):
            assert abs(held[1] - row[1]) <= 0.5
    assert ahead is None


@settings(max_examples=200, deadline=None)
@given(hostile_rows(), CUTS)
def test_on_change_with_an_interval(rows: list[Row], cuts: list[int]) -> None:
    found = run(pipeline({"on-change": {"max_interval": "7s"}})[0], rows, cuts)
    assert same(found, deadband(rows, 0.0, 7 * SECOND, 7 * SECOND))


@settings(max_examples=200, deadline=None)
@given(hostile_rows())
def test_a_tag_without_a_lossy_step_loses_only_repeats_of_bad_readings(rows: list[Row]) -> None:
    found = run(pipeline({"smooth": {"time_constant": "1s"}})[0], rows)
    assert [(t, q) for t, _, q in found] == [(t, q) for t, _, q in deadband(rows, -1.0)]


def test_zero_is_a_value() -> None:
    assert [row[1] for row in run(pipeline({"deadband": {"absolute": 1}})[0], good([5.0, 0.0, 0.5, 0.0]))] == [5.0, 0.0]


def test_a_difference_of_just_the_band_is_held() -> None:
    found = run(pipeline({"deadband": {"absolute": 2}})[0], good([0.0, 2.0, -2.0, 2.0000001]))
    assert [row[1] for row in found] == [0.0, 2.0000001]


def test_percent_is_of_the_range() -> None:
    tag = Tag("press", "t", low=0.0, high=400.0)
    found = run(pipeline({"deadband": {"percent": 1}}, tag=tag)[0], good([0.0, 4.0, 4.1, 8.0]))
    assert [row[1] for row in found] == [0.0, 4.1]


def test_text_passes_on_change() -> None:
    tag = Tag("press", "t", "string")
    words = [float(text_hash(word)) for word in ("run", "run", "stop", "run", "run")]
    found = run(pipeline({"on-change": {}}, tag=tag)[0], good(words))
    assert [row[0] // SECOND for row in found] == [0, 2, 3]


@pytest.mark.parametrize(("step", "pause"), [({"absolute": 1}, 60), ({"absolute": 1, "max_interval": "10m"}, 600)])
def test_a_bad_run_is_repeated_each_interval(step: dict[str, Any], pause: int) -> None:
    rows: list[Row] = [(0, 1.0, 0)]
    rows += [(t * SECOND, math.nan, 0x81) for t in range(1, 1500)]
    rows += [(1500 * SECOND, 1.0, 0), (1501 * SECOND, 1.0, 0)]
    found = run(pipeline({"deadband": step})[0], rows)
    assert [row[0] // SECOND for row in found] == [0, *range(1, 1500, pause), 1500]


@pytest.mark.parametrize(
    "step", [{"on-change": {}}, {"deadband": {"absolute": 1}}, {"swinging-door": {"deviation": 1}}, {"median": {}}]
)
def test_another_reason_in_a_bad_run_waits_for_the_interval(step: dict[str, Any]) -> None:
    rows: list[Row] = [(0, 1.0, 0), *((number * SECOND, math.nan, 0x81 + number % 2) for number in range(1, 70))]
    rows += [(70 * SECOND, 1.0, 0x46), (71 * SECOND, 1.0, 0x49)]
    assert [row[0] // SECOND for row in run(pipeline(step)[0], rows)] == [0, 1, 61, 70, 71]


def test_real_series() -> None:
    found = real_series()
    if not found:
        pytest.skip(ABSENT)
    for time_ns, value in found.values():
        band = 0.02 * float(np.ptp(value)) or 1.0
        rows = [(t, v, 0) for t, v in zip(time_ns.tolist(), value.tolist(), strict=True)]
        sent = run(pipeline({"deadband": {"absolute": band}})[0], rows, range(0, len(rows), 1000))
        assert sent == deadband(rows, band, bad_longest=MINUTE)
