"""Numbers that encoder and decoder of the columns codec agree on; `docs/columns-format.md` says them byte by byte."""

from __future__ import annotations

from typing import Final

import numpy as np

VERSION: Final = 1
MAX_ROWS: Final = 1 << 20  # a few bytes can stand for many rows: no block asks for more memory than this
MAX_BODY: Final = 64 << 20  # uncompressed

UNITS_NS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
UNIT_MASK: Final = 0x03  # flags: index into UNITS_NS
ZSTD: Final = 0x04
NULLS: Final = 0x08
QUALITY: Final = 0x10
TEXTS: Final = 0x20
REALS: Final = 0x40  # some runs are float32 or float64
KNOWN_FLAGS: Final = UNIT_MASK | ZSTD | NULLS | QUALITY | TEXTS | REALS

HEADS, LENGTHS, STEPS, TIMES, MODES, MANTISSAS, ADJUSTMENTS = range(
    7
)  # streams of numbers, two bits each in the coding word
VARINT, RLE, NIBBLES, PLANES = range(4)  # how a stream is written

DECIMALS: Final = 14  # modes 0 to 14: first differences of value * 10**mode
FLOAT32: Final = 15
FLOAT64: Final = 16
TEXT: Final = 17  # index into the sorted text table, first differences
SECOND: Final = 18  # modes 18 to 32: second differences of value * 10**(mode - 18)
NEAR: Final = 33  # modes 33 to 47 and 48 to 62: as 0 to 14 and 18 to 32, then so many steps to the next double
NEAR_SECOND: Final = 48
LAST_MODE: Final = NEAR_SECOND + DECIMALS
ADJUST: Final = 127  # steps at most

POWERS: Final = np.array([10.0**exponent for exponent in range(DECIMALS + 1)])
NAN_BITS: Final = 0x7FF8000000000000  # of the NaN that stands for "no value"
