from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.readings import Tag
from tests.unit.pipeline.hostile import hostile_rows
from tests.unit.pipeline.reference import REPAIRED, Row, counter, deadband, rate
from tests.unit.pipeline.rows import SECOND, good, pipeline, run, same

CUTS = st.lists(st.integers(0, 120), max_size=5)
WORDS = st.lists(st.tuples(st.integers(0, 65535), st.sampled_from([0, 0, 0, 0x49, 0x81])), max_size=80)


@settings(max_examples=200, deadline=None)
@given(WORDS, CUTS)
def test_counter(words: list[tuple[int, int]], cuts: list[int]) -> None:
    rows: list[Row] = [
        (number * SECOND, math.nan if quality >= 0x80 else float(word), quality)
        for number, (word, quality) in enumerate(words)
    ]
    found = run(pipeline({"counter": {"bits": 16}}, tag=Tag("press", "t", "uint16"))[0], rows, cuts)
    assert same(found, deadband(counter(rows, 16), -1.0))


def test_a_rollover_goes_on() -> None:
    found = run(pipeline({"counter": {"bits": 16}})[0], good([65530, 65535, 4, 10]))
    assert [row[1:] for row in found] == [(65530.0, 0), (65535.0, 0), (65540.0, 0), (65546.0, 0)]


def test_a_reset_is_marked_and_what_was_counted_since_is_added() -> None:
    found = run(pipeline({"counter": {"bits": 32}})[0], good([1000, 1010, 3, 5]))
    assert [row[1:] for row in found] == [(1000.0, 0), (1010.0, 0), (1013.0, REPAIRED), (1015.0, 0)]


def test_a_scaled_counter_rolls_over_at_its_scaled_range() -> None:
    tag = Tag("press", "t", "uint16", scale=0.5, offset=10.0)
    found = run(pipeline({"counter": {"bits": 16}}, tag=tag)[0], good([32777.5, 10.0, 12.0]))
    assert [row[1] for row in found] == [32777.5, 32778.0, 32780.0]


def test_the_total_survives_bad_rows_and_a_change_of_the_clock() -> None:
    line, _ = pipeline({"counter": {"bits": 16}})
    run(line, [*good([65535, 4]), (2 * SECOND, math.nan, 0x81)])
    assert [row[1] for row in run(line, good([6], start_ns=3 * SECOND))] == [65542.0]


@settings(max_examples=200, deadline=None)
@given(hostile_rows(), CUTS)
def test_rate(rows: list[Row], cuts: list[int]) -> None:
    found = run(pipeline({"rate": {"per": "1m"}})[0], rows, cuts)
    wanted = deadband(rate(rows, 60e9), -1.0)
    assert [(t, q) for t, _, q in found] == [(t, q) for t, _, q in wanted]
    values, plain = (np.array([row[1] for row in part]) for part in (found, wanted))
    np.testing.assert_allclose(values, plain, rtol=1e-12)


def test_no_rate_reaches_across_a_change_of_the_clock() -> None:
    line, _ = pipeline({"rate": {}})
    assert run(line, good([0.0, 2.0])) == [(SECOND, 2.0, 0)]
    assert run(line, good([100.0, 101.0], start_ns=3600 * SECOND)) == [(3601 * SECOND, 1.0, 0)]


def test_the_rate_of_a_counter_knows_rollovers() -> None:
    found = run(pipeline({"counter": {"bits": 16}}, {"rate": {"per": "1s"}})[0], good([65530, 4, 14]))
    assert [row[1] for row in found] == [10.0, 10.0]
