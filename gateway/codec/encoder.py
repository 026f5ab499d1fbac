"""Readings -> bytes of the columns codec (`docs/columns-format.md`).

Rows come back sorted by tag; rows of one tag keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from gateway.codec.kernels import Bytes, Indices, Numbers, sizes, split, survey, tabulate, write
from gateway.codec.layout import (
    MAX_ROWS,
    NAN_BITS,
    NIBBLES,
    NULLS,
    PLANES,
    QUALITY,
    REALS,
    RLE,
    TEXTS,
    UNITS_NS,
    VARINT,
    VERSION,
    ZSTD,
)
from gateway.codec.texts import write_texts, write_varint
from gateway.readings import Readings

WORTH_TRYING: Final = 160  # bytes: below, zstd never made a block shorter
LEVEL: Final = 3

Number = TypeVar("Number", np.uint32, np.int64, np.float64)


def encode(readings: Readings) -> bytes:
    """The block, version byte first, without its CRC. ValueError above MAX_ROWS rows."""
    rows = len(readings)
    if rows > MAX_ROWS:
        raise ValueError(f"a block holds at most {MAX_ROWS} readings")
    flags, columns = _columns(readings)
    head = bytes([VERSION])
    plain = flags.to_bytes(1, "little") + columns.written(best=True)
    if len(plain) < WORTH_TRYING:
        return head + plain
    body = columns.written(best=False)
    packed = zstandard.ZstdCompressor(level=LEVEL, write_content_size=False).compress(body)
    shorter = (flags | ZSTD).to_bytes(1, "little") + write_varint(len(body)) + packed
    return head + min(plain, shorter, key=len)


@dataclass(slots=True)
class _Columns:
    """A block taken apart: numbers before the streams, the streams, what follows them."""

    lead: bytes
    streams: Sequence[Numbers]
    tail: bytes

    def written(self, *, best: bool) -> bytes:
        """The streams each in its shortest form, or (not `best`) in the form that compresses best."""
        word, parts, found = 0, [], np.empty(4, np.int64)
        for place, stream in enumerate(self.streams):
            sizes(stream, found)
            plain, pairs, paired, width = found.tolist()
            coding, size = _coding(len(stream), plain, paired, width, best=best)
            word |= coding << (2 * place)
            out = np.empty(size, np.uint8)
            used = write(stream, coding, max(1, width), out)
            if coding == RLE:
                parts.append(write_varint(pairs))
            elif coding == PLANES:
                parts.append(bytes([max(1, width)]))
            parts.append(out[:used].tobytes())
        return b"".join((word.to_bytes(2, "little"), self.lead, *parts, self.tail))


def _coding(count: int, plain: int, paired: int, width: int, *, best: bool) -> tuple[int, int]:
    """How to write a stream, and the bytes that takes at most."""
    if paired + 1 < (plain if best else min(plain, count // 8)):
        return RLE, paired
    if best or count < 16:
        return (NIBBLES, (count + 1) // 2) if width == 0 and count > 1 else (VARINT, plain)
    return PLANES, max(1, width) * count


def _columns(readings: Readings) -> tuple[int, _Columns]:
    rows = len(readings)
    tag, time_ns = _owned(readings.tag), _owned(readings.time_ns)
    unit, rising, distinct = survey(tag, time_ns)
    times, index = _times(time_ns, distinct)
    value, quality = readings.value, readings.quality
    if not rising:
        order = np.argsort(tag, kind="stable")
        tag, index, value, quality = tag[order], index[order], value[order], quality[order]
    value = _owned(value)
    bits = value.view(np.int64)
    text = _text_index(readings, value)
    numbers, counts = np.empty((5, rows), np.uint64), np.zeros(7, np.int64)
    singles, doubles = np.empty(rows, np.float32), np.empty(rows, np.float64)
    split(tag, index, value, bits, text, numbers, singles, doubles, counts)
    heads, lengths, steps, modes, mantissas = (numbers[at, : counts[at]] for at in range(5))
    whole = times // UNITS_NS[unit]
    gaps = np.diff(whole).view(np.uint64)
    first = int(whole[0]) if len(whole) else 0
    lead = b"".join(map(write_varint, (rows, len(heads), len(times), _folded(first))))
    nulls = bits == NAN_BITS
    flags, tail = unit, []
    if nulls.any():
        flags |= NULLS
        lead += _runs(nulls.view(np.uint8))
    if quality.any():
        flags |= QUALITY
        lead += _runs(quality)
    if counts[5] or counts[6]:
        flags |= REALS
        tail += [_planes(singles[: counts[5]].view(np.uint32)), _planes(doubles[: counts[6]].view(np.uint64))]
    if readings.texts:
        flags |= TEXTS
        tail.append(write_texts(readings.texts))
    return flags, _Columns(lead, (heads, lengths, steps, gaps, modes, mantissas), b"".join(tail))


def _owned(column: NDArray[Number]) -> NDArray[Number]:
    """The column, contiguous and writable: any other layout would compile the kernels anew."""
    return np.require(column, requirements=("C", "W"))


def _times(time_ns: NDArray[np.int64], distinct: int) -> tuple[Indices, Indices]:
    if distinct < 0:
        times, index = np.unique(time_ns, return_inverse=True)
        return times, index.astype(np.int64, copy=False)
    times, index = np.empty(distinct, np.int64), np.empty(len(time_ns), np.int64)
    tabulate(time_ns, times, index)
    return times, index


def _text_index(readings: Readings, value: NDArray[np.float64]) -> Indices:
    """Each row's place in the sorted text table, -1 where its value is none of the hashes; no rows without texts."""
    if not readings.texts:
        return np.empty(0, np.int64)
    keys = np.array(sorted(readings.texts), np.float64)
    at = np.minimum(np.searchsorted(keys, value), len(keys) - 1)
    return np.where(keys.view(np.int64)[at] == value.view(np.int64), at, -1).astype(np.int64, copy=False)


def _folded(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _runs(codes: Bytes) -> bytes:
    """Equal neighbours as (code, times - 1) behind their number."""
    starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    lengths = np.diff(np.append(starts, len(codes)))
    parts = [write_varint(len(starts))]
    for code, length in zip(codes[starts].tolist(), lengths.tolist(), strict=True):
        parts += [write_varint(code), write_varint(length - 1)]
    return b"".join(parts)


def _planes(bits: NDArray[np.uint32] | NDArray[np.uint64]) -> bytes:
    """Bit patterns against their predecessors, all lowest bytes first, then the next ones."""
    changed = bits.copy()
    changed[1:] ^= bits[:-1]
    little = changed.astype(changed.dtype.newbyteorder("<"), copy=False)
    return write_varint(len(bits)) + little.view(np.uint8).reshape(-1, bits.itemsize).T.tobytes()
