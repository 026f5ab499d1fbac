"""Engineering values: raw * scale + offset, so that 215 * 0.1 is 21.5. Pure.

A decimal scale m*10^-k is applied as (raw * m + o) / 10^k: with whole numbers up to 2^53 the product is exact and the
one division rounds once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

EXACT = 1 << 53


class Scaling(NamedTuple):
    """value = (raw * multiply + add) / divide."""

    multiply: float = 1.0
    add: float = 0.0
    divide: float = 1.0


PLAIN = Scaling()


def scaling(scale: float, offset: float) -> Scaling:
    """The exact form of a scale and an offset; the plain one where their digits don't fit."""
    factor, shift = Decimal(repr(scale)), Decimal(repr(offset))
    places = max(0, -_exponent(factor), -_exponent(shift))
    if places <= 22:  # 10^22 is the largest power of ten that float64 holds exactly
        multiply, add = factor.scaleb(places), shift.scaleb(places)
        if abs(multiply) <= EXACT and abs(add) <= EXACT:
            return Scaling(float(multiply), float(add), float(10**places))
    return Scaling(scale, offset, 1.0)


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
