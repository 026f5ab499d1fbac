from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import WriteError
from gateway.field.conversion import Conversion, engineering, raw_number
from gateway.readings import Quality, Tag


def convert(tag: Tag, *raw: float, quality: Quality = Quality.GOOD) -> list[tuple[float, int]]:
    count = len(raw)
    values, qualities = Conversion([tag]).apply(
        np.zeros(count, np.intp), np.array(raw, np.float64), np.full(count, quality, np.uint8)
    )
    return list(zip(values.tolist(), qualities.tolist(), strict=True))


def test_a_decimal_scale_gives_the_decimal_result() -> None:
    assert convert(Tag("d", "t", "int16", scale=0.1), 215, 3, 7) == [(21.5, 0), (0.3, 0), (0.7, 0)]
    assert convert(Tag("d", "t", "int16", scale=0.01, offset=-40.5), 4051) == [(0.01, 0)]


@given(st.integers(-32768, 32767), st.integers(1, 4), st.integers(-999, 999))
def test_every_decimal_scale_is_exact(raw: int, places: int, offset: int) -> None:
    scale = Decimal(1).scaleb(-places)
    tag = Tag("d", "t", "int16", scale=float(scale), offset=offset / 10)
    wanted = float(raw * scale + Decimal(offset) / 10)
    assert convert(tag, raw) == [(wanted, 0)]
    assert engineering(tag, raw) == wanted
    assert raw_number(tag, wanted) == raw


def test_what_is_no_value_is_bad_decode() -> None:
    bad = Quality.BAD_DECODE
    for tag, raw in (
        (Tag("d", "t"), math.nan),
        (Tag("d", "t"), math.inf),
        (Tag("d", "t", "int16"), 1.5),
        (Tag("d", "t", "uint8"), 256.0),
        (Tag("d", "t", "uint8"), -1.0),
    ):
        ((value, quality),) = convert(tag, raw)
        assert math.isnan(value)
        assert quality == bad


def test_outside_its_range_a_value_is_bad_and_kept() -> None:
    tag = Tag("d", "t", low=0.0, high=10.0)
    assert convert(tag, -1.0, 0.0, 10.0, 11.0) == [(-1.0, 0x84), (0.0, 0), (10.0, 0), (11.0, 0x84)]


def test_wide_integers_that_a_float_cant_hold_are_uncertain() -> None:
    assert convert(Tag("d", "t", "int64"), 2.0**53 - 1, 2.0**60) == [
        (2.0**53 - 1, 0),
        (2.0**60, Quality.UNCERTAIN_PRECISION),
    ]


def test_a_bool_is_zero_or_one() -> None:
    assert convert(Tag("d", "t", "bool"), 0, 1, 7) == [(0, 0), (1, 0), (1, 0)]


def test_bad_rows_have_no_value_and_keep_their_reason() -> None:
    ((value, quality),) = convert(Tag("d", "t"), 5.0, quality=Quality.BAD_EXCEPTION)
    assert math.isnan(value)
    assert quality == Quality.BAD_EXCEPTION


@given(st.lists(st.floats(), max_size=20), st.integers(0, 255))
def test_no_input_raises(raw: list[float], quality: int) -> None:
    tags = [Tag("d", "t", "int64", scale=1e300, offset=1e300), Tag("d", "u", "bool")]
    rows = np.arange(len(raw)) % 2
    values, _ = Conversion(tags).apply(rows, np.array(raw), np.full(len(raw), quality, np.uint8))
    assert len(values) == len(raw)


@pytest.mark.parametrize(
    ("tag", "value", "status"),
    [
        (Tag("d", "t", "int16"), 1.5, "bad_type"),
        (Tag("d", "t", "int16"), 40000.0, "out_of_range"),
        (Tag("d", "t", "uint8", scale=0.1), -1.0, "out_of_range"),
    ],
)
def test_what_a_type_cant_hold_isnt_written(tag: Tag, value: float, status: str) -> None:
    with pytest.raises(WriteError) as error:
        raw_number(tag, value)
    assert error.value.status == status


def test_a_scaled_value_is_rounded_to_the_nearest_raw_one() -> None:
    assert raw_number(Tag("d", "t", "int16", scale=0.1), 21.54) == 215.0
