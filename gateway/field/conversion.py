"""From what a device calls a value to engineering units, column by column; shared by drivers that get numbers.

raw float64, quality uint8  --Conversion.apply-->  value float64, quality uint8

value = raw * scale + offset, computed as one fraction, so that 215 * 0.1 is 21.5 and not its neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.errors import WriteError
from gateway.readings import BAD, INTEGER_LIMITS, Quality, QualityColumn, Tag, ValueColumn

EXACT: Final = 2.0**53  # from here on neighbouring integers share a float64
Rows = NDArray[np.intp]


def _fraction(tag: Tag) -> tuple[float, float, float]:
    """(a, b, c) with raw * scale + offset = (raw * a + b) / c; decimal scales give small whole numbers."""
    scale, offset = Fraction(repr(tag.scale)), Fraction(repr(tag.offset))
    common = lcm(scale.denominator, offset.denominator)
    if common > 1_000_000_000:  # not a decimal anybody typed: nothing to be gained
        return tag.scale, tag.offset, 1.0
    return float(scale * common), float(offset * common), float(common)


class Conversion:
    """The conversion of a list of tags; rows are positions in that list."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        count = len(tags)
        parts = np.array([_fraction(tag) for tag in tags], np.float64).reshape(count, 3)
        self._a, self._b, self._c = parts.T
        self._low = np.array([-np.inf if tag.low is None else tag.low for tag in tags], np.float64)
        self._high = np.array([np.inf if tag.high is None else tag.high for tag in tags], np.float64)
        limits = [INTEGER_LIMITS.get(tag.type, (-np.inf, np.inf)) for tag in tags]
        self._least = np.array([low for low, _ in limits], np.float64)
        self._most = np.array([high for _, high in limits], np.float64)
        self._whole = np.array([tag.type in INTEGER_LIMITS for tag in tags], np.bool_)
        self._wide = np.array([tag.type in {"int64", "uint64"} for tag in tags], np.bool_)
        self._bool = np.array([tag.type == "bool" for tag in tags], np.bool_)
        self._text = np.array([tag.type == "string" for tag in tags], np.bool_)

    def apply(self, rows: Rows, raw: ValueColumn, quality: QualityColumn) -> tuple[ValueColumn, QualityColumn]:
        """Engineering values and their quality; the inputs are left alone.

        NaN, infinity, a fraction or too large a number for an integer type: bad/decode, no value. Outside `range`:
        bad/range, the value stays. 64-bit integers beyond 2**53: uncertain/precision. Rows that came in bad: NaN.
        """
        quality = quality.copy()
        good = quality < BAD
        with np.errstate(invalid="ignore", over="ignore"):
            fits = np.isfinite(raw) & (raw >= self._least[rows]) & (raw <= self._most[rows])
            fits &= ~self._whole[rows] | (raw == np.rint(raw))
            quality[good & ~fits] = Quality.BAD_DECODE
            good &= fits
            quality[good & self._wide[rows] & (np.abs(raw) >= EXACT) & (quality == 0)] = Quality.UNCERTAIN_PRECISION
            value = np.where(self._bool[rows], np.where(raw == 0, 0.0, 1.0), raw)
            value = (value * self._a[rows] + self._b[rows]) / self._c[rows]
            outside = (value < self._low[rows]) | (value > self._high[rows])
        quality[good & outside & ~self._text[rows]] = Quality.BAD_RANGE
        value[~good] = np.nan
        return value, quality


def raw_number(tag: Tag, value: float) -> float:
    """What to write for an engineering value, whole for integer types. WriteError where the type can't hold it."""
    raw = float((Fraction(value) - Fraction(repr(tag.offset))) / Fraction(repr(tag.scale))) if tag.scaled else value
    limits = INTEGER_LIMITS.get(tag.type)
    if limits is None:
        return raw
    if not tag.scaled and raw != round(raw):
        raise WriteError("bad_type", f"{tag.full_name} takes whole numbers")
    if not limits[0] <= round(raw) <= limits[1]:
        raise WriteError("out_of_range", f"{tag.full_name} holds {limits[0]} to {limits[1]}")
    return float(round(raw))


def engineering(tag: Tag, raw: float) -> float:
    """The engineering value of one raw number: what `Conversion` gives, for a value read back."""
    a, b, c = _fraction(tag)
    return (raw * a + b) / c
