"""Version 0: the columns as they stand in memory.

Layout after the version byte, little-endian:

rows u32, then tag u4[rows], time_ns i8[rows], value f8[rows], quality u1[rows], then the texts as in `texts.py`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gateway.codec.texts import read_texts, write_texts
from gateway.errors import CodecError
from gateway.readings import Readings

VERSION: Final = 0
ROW_BYTES: Final = 4 + 8 + 8 + 1


def encode(readings: Readings) -> bytes:
    """The block without its CRC."""
    columns = (
        readings.tag.astype("<u4", copy=False),
        readings.time_ns.astype("<i8", copy=False),
        readings.value.astype("<f8", copy=False),
        readings.quality.astype("u1", copy=False),
    )
    head = bytes([VERSION]) + len(readings).to_bytes(4, "little")
    return b"".join((head, *(column.tobytes() for column in columns), write_texts(readings.texts)))


def decode(body: bytes, at: int) -> Readings:
    """The readings of a block whose version byte stands before `at`; CodecError where lengths don't fit."""
    rows = int.from_bytes(body[at : at + 4], "little")
    at += 4
    if at + rows * ROW_BYTES > len(body):
        raise CodecError("shorter than its number of readings")
    columns: list[Any] = []
    for kind in (np.uint32, np.int64, np.float64, np.uint8):
        little = np.dtype(kind).newbyteorder("<")
        columns.append(np.frombuffer(body, little, rows, at).astype(kind))
        at += rows * little.itemsize
    texts, _ = read_texts(body, at)
    tag, time_ns, value, quality = columns
    return Readings(tag, time_ns, value, quality, texts)
