from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.modbus.scaling import scaling


def applied(raw: float, scale: float, offset: float = 0.0) -> float:
    multiply, add, divide = scaling(scale, offset)
    return (raw * multiply + add) / divide


def test_people_see_the_decimals_they_wrote() -> None:
    assert applied(215, 0.1) == 21.5
    assert [applied(raw, 0.1) for raw in range(1000)] == [raw / 10 for raw in range(1000)]
    assert applied(3, 0.1, -40) == -39.7
    assert applied(7, 0.01, 0.005) == 0.075
    assert applied(7, 1000) == 7000


@given(st.integers(-(2**31), 2**31), st.integers(-99999, 99999), st.integers(0, 6), st.integers(-9999, 9999))
def test_it_is_the_nearest_number_to_the_exact_value(raw: int, digits: int, places: int, shift: int) -> None:
    scale, offset = float(Decimal(digits).scaleb(-places)), float(Decimal(shift).scaleb(-places))
    exact = raw * Fraction(str(Decimal(digits).scaleb(-places))) + Fraction(str(Decimal(shift).scaleb(-places)))
    assert applied(raw, scale, offset) == float(exact)


@pytest.mark.parametrize("scale", [1e-30, 1 / 3, 1.2345678901234567e-9, 1e300])
def test_odd_scales_still_scale(scale: float) -> None:
    assert applied(3.0, scale) == pytest.approx(3.0 * scale, rel=1e-15)
