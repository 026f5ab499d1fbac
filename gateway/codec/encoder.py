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
SMALL: Final = 2048  # rows: up to here one frame over all may be shorter than one for each plane
PLANE: Final = 32  # numbers: fewer are not worth planes
WHOLE: Final = zstandard.ZstdCompressionParameters.from_level(3, write_content_size=0)
PLAIN: Final = zstandard.ZstdCompressionParameters.from_level(1, min_match=7, write_content_size=0)

Number = TypeVar("Number", np.uint32, np.int64, np.float64)


def encode(readings: Readings) -> bytes:
    """The block, version byte first, without its CRC. ValueError above MAX_ROWS rows."""
    rows = len(readings)
    if rows > MAX_ROWS:
        raise ValueError(f"a block holds at most {MAX_ROWS} readings")
    flags, columns = _columns(readings)
    head = bytes([VERSION])
    best = flags.to_bytes(1, "little") + columns.written(_Form() if rows < PLANE else _Packed())
    if rows <= SMALL and len(best) >= WORTH_TRYING:
        body = columns.written(_Open())
        frame = zstandard.ZstdCompressor(compression_params=WHOLE).compress(body)
        best = min(best, (flags | ZSTD).to_bytes(1, "little") + write_varint(len(body)) + frame, key=len)
    return head + best


@dataclass(slots=True)
class _Columns:
    """A block taken apart: numbers before the streams, the streams, bit patterns of floats, the texts."""

    lead: bytes
    streams: Sequence[Numbers]
    floats: Sequence[Numbers | NDArray[np.uint32]]
    texts: bytes

    def written(self, form: _Form) -> bytes:
        """All of it, the streams and floats in one of the forms."""
        word, parts = 0, []
        for place, stream in enumerate(self.streams):
            coding, data = form.stream(stream)
            word |= coding << (2 * place)
            parts.append(data)
        for floats in self.floats:
            parts.append(write_varint(len(floats)))
            parts += [form.plane(plane) for plane in _planes(floats, floats.itemsize)] if len(floats) else []
        return b"".join((word.to_bytes(2, "little"), self.lead, *parts, self.texts))


class _Form:
    """Each stream in its shortest form without zstd; floats as they are."""

    def stream(self, numbers: Numbers) -> tuple[int, bytes]:
        """How the stream is coded, and its bytes."""
        found = np.empty(4, np.int64)
        sizes(numbers, found)
        plain, pairs, paired, width = found.tolist()
        nibbles = (len(numbers) + 1) // 2 if width == 0 and len(numbers) > 1 else plain
        size, coding = min((plain, VARINT), (nibbles, NIBBLES), (paired + 1, RLE))
        if size >= PLANE and (planes := self.long(numbers, max(1, width), size, coding)):
            return PLANES, planes
        counted = write_varint(pairs) if coding == RLE else b""
        return coding, counted + _written(numbers, coding, size)

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        """Planes of a stream that takes `size` bytes in the best other form, empty where that is better."""
        del numbers, width, size, coding
        return b""

    def plane(self, plane: Bytes) -> bytes:
        """One byte of each number."""
        return write_varint(len(plane)) + plane.tobytes()


class _Packed(_Form):
    """Long streams and floats as planes, each a zstd frame of its own where that is shorter."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(compression_params=PLAIN)

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        del coding
        data = b"".join((bytes([width]), *map(self.plane, _planes(numbers, width))))
        return data if len(data) < size else b""

    def plane(self, plane: Bytes) -> bytes:
        if plane.min() == plane.max():
            return write_varint(0) + plane[:1].tobytes()
        data = plane.tobytes()
        frame = self._zstd.compress(data)
        best = frame if len(frame) < len(data) else data
        return write_varint(len(best)) + best


class _Open(_Form):
    """Long streams as planes that are not compressed: one frame over all follows."""

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        if coding == RLE and size < len(numbers) // 8:
            return b""
        return b"".join((bytes([width]), *map(self.plane, _planes(numbers, width))))


def _written(numbers: Numbers, coding: int, size: int) -> bytes:
    out = np.empty(size, np.uint8)
    return out[: write(numbers, coding, out)].tobytes()


def _planes(numbers: Numbers | NDArray[np.uint32], width: int) -> list[Bytes]:
    """All lowest bytes, all second bytes, ... of numbers that `width` bytes can hold."""
    little = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    return list(little.view(np.uint8).reshape(-1, numbers.itemsize)[:, :width].T)


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
    numbers, counts = np.empty((6, rows), np.uint64), np.zeros(8, np.int64)
    singles, doubles = np.empty(rows, np.float32), np.empty(rows, np.float64)
    split(tag, index, value, bits, text, numbers, singles, doubles, counts)
    heads, lengths, steps, modes, mantissas, adjustments = (numbers[at, : counts[at]] for at in range(6))
    whole = times // UNITS_NS[unit]
    gaps = np.diff(whole).view(np.uint64)
    first = int(whole[0]) if len(whole) else 0
    lead = b"".join(map(write_varint, (rows, len(heads), len(times), _folded(first))))
    nulls = bits == NAN_BITS
    flags = unit
    if nulls.any():
        flags |= NULLS
        lead += _runs(nulls.view(np.uint8))
    if quality.any():
        flags |= QUALITY
        lead += _runs(quality)
    floats: tuple[Numbers | NDArray[np.uint32], ...] = ()
    if counts[6] or counts[7]:
        flags |= REALS
        floats = (_changes(singles[: counts[6]].view(np.uint32)), _changes(doubles[: counts[7]].view(np.uint64)))
    texts = b""
    if readings.texts:
        flags |= TEXTS
        texts = write_texts(readings.texts)
    return flags, _Columns(lead, (heads, lengths, steps, gaps, modes, mantissas, adjustments), floats, texts)


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


Bits = TypeVar("Bits", np.uint32, np.uint64)


def _changes(bits: NDArray[Bits]) -> NDArray[Bits]:
    """Bit patterns against their predecessors."""
    changed = bits.copy()
    changed[1:] ^= bits[:-1]
    return changed
