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

from gateway.codec.layout import (
    HEADS,
    MAX_ROWS,
    NAN_BITS,
    NULLS,
    PLANES,
    QUALITY,
    REALS,
    RLE,
    TEXTS,
    TIMES,
    UNITS_NS,
    VERSION,
    ZSTD,
)
from gateway.codec.runs import split, survey, tabulate
from gateway.codec.streams import Bytes, Indices, Numbers, measure, planes, write
from gateway.codec.texts import write_texts, write_varint
from gateway.readings import Readings

WORTH_TRYING: Final = 160  # bytes: below, zstd never made a block shorter; nor one of few rows, but for its texts
SMALL: Final = 2048  # rows: up to here one frame over all may be shorter than one for each plane
PLANE: Final = 32  # numbers: fewer are not worth planes
COUNT: Final = 10  # bytes that the number of pairs may take
WHOLE: Final = zstandard.ZstdCompressionParameters.from_level(3, write_content_size=0)
PLAIN: Final = zstandard.ZstdCompressionParameters.from_level(1, min_match=7, write_content_size=0)

Number = TypeVar("Number", np.uint32, np.int64, np.float64, np.uint8)

_NO_ROWS: Final = np.empty(0, np.int64)


def encode(readings: Readings) -> bytes:
    """The block, version byte first, without its CRC. ValueError above MAX_ROWS rows."""
    rows = len(readings)
    if rows > MAX_ROWS:
        raise ValueError(f"a block holds at most {MAX_ROWS} readings")
    flags, columns = _columns(readings)
    head = bytes([VERSION])
    best = flags.to_bytes(1, "little") + columns.written(_Form() if rows < PLANE else _Packed())
    if rows <= SMALL and (rows >= PLANE or readings.texts) and len(best) >= WORTH_TRYING:
        body = columns.written(_Open())
        frame = zstandard.ZstdCompressor(compression_params=WHOLE).compress(body)
        best = min(best, (flags | ZSTD).to_bytes(1, "little") + write_varint(len(body)) + frame, key=len)
    return head + best


@dataclass(slots=True)
class _Columns:
    """A block taken apart: numbers before the streams, the streams, bit patterns of floats, the texts."""

    lead: bytes
    streams: Numbers  # [7, rows]
    counts: Indices
    measures: Indices  # as of streams.measure
    floats: Sequence[tuple[Numbers, int]]  # with the bytes of each
    texts: bytes

    def written(self, form: _Form) -> bytes:
        """All of it, the streams and floats in one of the forms."""
        measures, chosen, longs = self.measures, self.measures.tolist(), {}
        for place, (coding, size, _, width) in enumerate(chosen):
            if size >= PLANE:
                numbers = self.streams[place, : self.counts[place]]
                if data := form.long(numbers, width, size, coding):
                    longs[place] = data
                    measures = self.measures.copy() if measures is self.measures else measures
                    measures[place, 0] = PLANES
        room = sum(size + COUNT for place, (_, size, _, _) in enumerate(chosen) if place not in longs)
        out, ends = np.empty(room, np.uint8), np.empty(len(chosen), np.int64)
        write(self.streams, self.counts, measures, out, ends)
        plain, begin, word, parts = out.tobytes(), 0, 0, []
        for place, end in enumerate(ends.tolist()):
            word |= (PLANES if place in longs else chosen[place][0]) << (2 * place)
            parts.append(longs.get(place) or plain[begin:end])
            begin = end
        for floats, width in self.floats:
            parts.append(write_varint(len(floats)))
            parts.append(form.planes(floats, width) if len(floats) else b"")
        return b"".join((word.to_bytes(2, "little"), self.lead, *parts, self.texts))


class _Form:
    """Each stream in its shortest form without zstd; floats as they are."""

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        """Planes of a stream that takes `size` bytes in the best other form, empty where that is better."""
        del numbers, width, size, coding
        return b""

    def planes(self, numbers: Numbers, width: int) -> bytes:
        """A plane for each of the `width` lowest bytes of the numbers."""
        out = np.empty((width, len(numbers)), np.uint8)
        varied, data, rows = planes(numbers, out), out.tobytes(), len(numbers)
        return b"".join(
            self.plane(data[place * rows : (place + 1) * rows], bool(varied >> place & 1)) for place in range(width)
        )

    def plane(self, plane: bytes, varied: bool) -> bytes:
        """One byte of each number; `varied`: they are not all the same."""
        del varied
        return write_varint(len(plane)) + plane


class _Packed(_Form):
    """Long streams and floats as planes, each a zstd frame of its own where that is shorter."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(compression_params=PLAIN)

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        del coding
        data = bytes([width]) + self.planes(numbers, width)
        return data if len(data) < size else b""

    def plane(self, plane: bytes, varied: bool) -> bytes:
        if not varied:
            return write_varint(0) + plane[:1]
        best = min(plane, self._zstd.compress(plane), key=len)
        return write_varint(len(best)) + best


class _Open(_Form):
    """Long streams as planes that are not compressed: one frame over all follows."""

    def long(self, numbers: Numbers, width: int, size: int, coding: int) -> bytes:
        if coding == RLE and size < len(numbers) // 8:
            return b""
        return bytes([width]) + self.planes(numbers, width)


def _columns(readings: Readings) -> tuple[int, _Columns]:
    rows = len(readings)
    tag, time_ns = _owned(readings.tag), _owned(readings.time_ns)
    value, quality = _owned(readings.value), _owned(readings.quality)
    found = np.empty(5, np.int64)
    survey(tag, time_ns, value.view(np.int64), quality, found)
    unit, falling, back, missing, marked = found.tolist()
    streams, counts = np.empty((7, rows), np.uint64), np.zeros(9, np.int64)
    index = np.empty(rows, np.int64)
    by_time = np.argsort(time_ns, kind="stable").astype(np.int64, copy=False) if back else _NO_ROWS
    distinct = tabulate(time_ns, by_time, unit, streams[TIMES], index)
    first = int(time_ns[by_time[0] if back else 0]) // UNITS_NS[unit] if rows else 0
    if falling:
        order = np.argsort(tag, kind="stable")
        tag, index, value, quality = tag[order], index[order], value[order], quality[order]
    bits = value.view(np.int64)
    text = _text_index(readings, value)
    singles, doubles = np.empty(rows, np.float32), np.empty(rows, np.float64)
    split(tag, index, value, bits, text, streams, singles, doubles, counts)
    counts[TIMES] = max(0, distinct - 1)
    lead = b"".join(map(write_varint, (rows, int(counts[HEADS]), distinct, _folded(first))))
    flags = unit
    if missing:
        flags |= NULLS
        lead += _runs((bits == NAN_BITS).view(np.uint8))
    if marked:
        flags |= QUALITY
        lead += _runs(quality)
    floats: tuple[tuple[Numbers, int], ...] = ()
    short, long = counts[7:].tolist()
    if short or long:
        flags |= REALS
        floats = (
            (_changes(singles[:short].view(np.uint32).astype(np.uint64)), 4),
            (_changes(doubles[:long].view(np.uint64)), 8),
        )
    texts = b""
    if readings.texts:
        flags |= TEXTS
        texts = write_texts(readings.texts)
    measures = np.empty((7, 4), np.int64)
    measure(streams, counts, measures)
    return flags, _Columns(lead, streams, counts, measures, floats, texts)


def _owned(column: NDArray[Number]) -> NDArray[Number]:
    """The column, contiguous and writable: any other layout would compile the kernels anew."""
    return column if column.flags.carray else np.require(column, requirements=("C", "W"))


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


def _changes(bits: Numbers) -> Numbers:
    """Bit patterns against their predecessors."""
    changed = bits.copy()
    changed[1:] ^= bits[:-1]
    return changed
