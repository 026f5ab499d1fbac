"""Rows as JSON text: every value reads back as what it was."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codec.jsontext import BOOL, INTEGER, REAL, TEXT, RowTexts, tail
from gateway.readings import Quality, Readings, text_hash

HEADS = [b'{"tag":"real","time":', b'{"tag":"bool","time":', b'{"tag":"integer","time":', b'{"tag":"text","time":']
ROWS = RowTexts.of(HEADS, [REAL, BOOL, INTEGER, TEXT])


def readings(rows: list[tuple[int, int, float, int]], texts: dict[int, str] | None = None) -> Readings:
    tag, time, value, quality = (list(column) for column in zip(*rows, strict=True))
    return Readings(
        np.array(tag, np.uint32),
        np.array(time, np.int64),
        np.array(value, np.float64),
        np.array(quality, np.uint8),
        texts or {},
    )


def parsed(rows: Readings, unit_ns: int = 1) -> list[dict[str, object]]:
    text, ends = ROWS.rows(rows, unit_ns)
    assert ends[-1] == len(text)
    whole = text.tobytes()
    assert all(whole[end - 2 : end] == b"}," for end in ends.tolist())
    found: list[dict[str, object]] = json.loads(b"[" + whole[:-1] + b"]")
    return found


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63) + 1, 2**63 - 1))))
def test_real_numbers_and_times_read_back_bit_for_bit(pairs: list[tuple[float, int]]) -> None:
    if not pairs:
        return
    found = parsed(readings([(0, time, value, 0) for value, time in pairs]))
    assert [row["time"] for row in found] == [time for _, time in pairs]
    for row, (value, _) in zip(found, pairs, strict=True):
        assert isinstance(row["value"], float)
        assert struct.pack("<d", row["value"]) == struct.pack("<d", value)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(st.integers(-(2**53), 2**53), st.sampled_from([2**63, -(2**63), 2**64 - 2048])), min_size=1))
def test_integers_are_written_as_integers(numbers: list[int]) -> None:
    rows, _ = ROWS.rows(readings([(2, 0, float(number), 0) for number in numbers]), 1)
    found = parsed(readings([(2, 0, float(number), 0) for number in numbers]))
    assert [row["value"] for row in found] == numbers
    assert b"." not in rows.tobytes()


def test_a_row_of_each_kind() -> None:
    key = text_hash('say "käse"\n')
    found = parsed(
        readings(
            [(0, 7_999_999, 211.5, 0), (1, 7_000_000, 1.0, 0), (1, 7_000_000, 0.0, 0), (3, 7_000_000, float(key), 0)],
            {key: 'say "käse"\n'},
        ),
        1_000_000,
    )
    assert found == [
        {"tag": "real", "time": 7, "value": 211.5, "quality": "good"},
        {"tag": "bool", "time": 7, "value": True, "quality": "good"},
        {"tag": "bool", "time": 7, "value": False, "quality": "good"},
        {"tag": "text", "time": 7, "value": 'say "käse"\n', "quality": "good"},
    ]
    assert isinstance(found[1]["value"], bool)


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
@pytest.mark.parametrize("quality", list(Quality))
def test_a_bad_reading_has_no_value_except_for_range(kind: int, quality: Quality) -> None:
    (row,) = parsed(readings([(kind, 1, 1.0, quality)], {1: "one"}))
    assert row["quality"] == quality.word
    assert row.get("reason", "") == quality.reason
    shown = quality.word != "bad" or quality is Quality.BAD_RANGE
    assert row["value"] == ([1.0, True, 1, "one"][kind] if shown else None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_what_is_no_number_is_null(kind: int, value: float) -> None:
    (row,) = parsed(readings([(kind, 1, value, 0)]))
    if kind == 1 and value != 0 and not math.isnan(value):
        assert row["value"] is True
    else:
        assert row["value"] is None


def test_rows_keep_their_order_and_their_own_values() -> None:
    mixed = [(row % 3, row, float(row), 0 if row % 5 else int(Quality.BAD_LINK)) for row in range(300)]
    found = parsed(readings(mixed))
    for (kind, time, value, quality), row in zip(mixed, found, strict=True):
        assert row["time"] == time
        assert row["value"] == (None if quality else bool(value) if kind == 1 else value)


def test_half_a_surrogate_pair_does_not_break_the_message() -> None:
    (row,) = parsed(readings([(3, 1, 5.0, 0)], {5: "a\ud800b"}))
    assert row["value"] == "a?b"


def test_a_missing_text_is_null() -> None:
    (row,) = parsed(readings([(3, 1, 5.0, 0)]))
    assert row["value"] is None


def test_a_tag_beyond_the_table_is_refused() -> None:
    with pytest.raises(IndexError):
        ROWS.rows(readings([(4, 1, 5.0, 0)]), 1)


def test_every_code_has_a_tail_that_is_json() -> None:
    for code in range(256):
        assert json.loads(b'{"x":0' + tail(code))["quality"] in {"good", "uncertain", "bad"}
