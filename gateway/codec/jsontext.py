"""Rows of a block as JSON text: one kernel stitches ready-made pieces together, no Python object per reading.

    head of the tag | time | ,"value": | value | tail of the quality | ,

Real numbers come as text already, comma by comma, from a formatter that gives the shortest digits which read back as
the same double; booleans, integers and times are written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from gateway.compiled import kernel
from gateway.readings import BAD, Quality, Readings

Bytes = NDArray[np.uint8]
Ends = NDArray[np.int64]

REAL, BOOL, INTEGER, TEXT = 0, 1, 2, 3
_BAD: Final = int(BAD)
_RANGE: Final = int(Quality.BAD_RANGE)
_NUMBER: Final = 26  # bytes of the longest number, sign and exponent included
_EDGE: Final = float(1 << 63)
_HUGE: Final = float(1 << 64)
_MIDDLE: Final = 9  # `,"value":`
_COMMA: Final = 44


@kernel
def stitch(
    out: Bytes,
    ends: Ends,
    tag: NDArray[np.uint32],
    time: NDArray[np.int64],
    value: NDArray[np.float64],
    quality: NDArray[np.uint8],
    kind: NDArray[np.uint8],
    pieces: Bytes,
    places: Ends,
    numbers: Bytes,
    texts: Bytes,
    text_ends: Ends,
) -> int:
    """Write all rows to `out`, a comma behind each, and where each ends to ends[n]; returns the bytes written.

    pieces/places: the heads of all tags, then the tails of all 256 quality codes; piece k is
    pieces[places[k]:places[k + 1]]. numbers: the values' texts with a comma between them (NaN: null).
    texts/text_ends: the JSON strings of the rows of kind TEXT, in order.
    """
    digits = np.empty(20, np.uint8)
    at, scan, text = 0, 0, 0
    tails = places.size - 257
    for row in range(tag.size):
        index = tag[row]
        for source in range(places[index], places[index + 1]):
            out[at] = pieces[source]
            at += 1
        # time
        whole = time[row]
        if whole < 0:
            out[at] = 45
            at += 1
            left = np.uint64(-whole)
        else:
            left = np.uint64(whole)
        count = 0
        while True:
            rest = left // np.uint64(10)
            digits[count] = np.uint8(48) + np.uint8(left - rest * np.uint64(10))
            count += 1
            left = rest
            if left == 0:
                break
        while count > 0:
            count -= 1
            out[at] = digits[count]
            at += 1
        # ,"value":
        out[at] = 44
        out[at + 1] = 34
        out[at + 2] = 118
        out[at + 3] = 97
        out[at + 4] = 108
        out[at + 5] = 117
        out[at + 6] = 101
        out[at + 7] = 34
        out[at + 8] = 58
        at += 9
        # value
        start = scan
        while scan < numbers.size and numbers[scan] != 44:
            scan += 1
        stop = scan
        scan += 1
        number = value[row]
        what = kind[index]
        if what == TEXT:
            begin = text_ends[text - 1] if text > 0 else 0
            for source in range(begin, text_ends[text]):
                out[at] = texts[source]
                at += 1
            text += 1
        elif what == BOOL and number == number:  # noqa: PLR0124  # NaN has no truth
            if number != 0:
                out[at] = 116
                out[at + 1] = 114
                out[at + 2] = 117
                at += 3
            else:
                out[at] = 102
                out[at + 1] = 97
                out[at + 2] = 108
                out[at + 3] = 115
                at += 4
            out[at] = 101
            at += 1
        elif what == INTEGER and -_EDGE <= number < _HUGE:
            if number < 0:
                left = np.uint64(-number)
                if left > 0:
                    out[at] = 45
                    at += 1
            else:
                left = np.uint64(number)
            count = 0
            while True:
                rest = left // np.uint64(10)
                digits[count] = np.uint8(48) + np.uint8(left - rest * np.uint64(10))
                count += 1
                left = rest
                if left == 0:
                    break
            while count > 0:
                count -= 1
                out[at] = digits[count]
                at += 1
        else:
            for source in range(start, stop):
                out[at] = numbers[source]
                at += 1
        # quality
        piece = tails + quality[row]
        for source in range(places[piece], places[piece + 1]):
            out[at] = pieces[source]
            at += 1
        out[at] = _COMMA
        at += 1
        ends[row] = at
    return at


def tail(code: int) -> bytes:
    """`,"quality":"bad","reason":"timeout"}` of a quality code."""
    word = "bad" if code & BAD else "uncertain" if code & 0x40 else "good"
    reason = next((quality.reason for quality in Quality if quality == code), "")
    return f',"quality":"{word}"'.encode() + (f',"reason":"{reason}"}}'.encode() if reason else b"}")


@dataclass(frozen=True, slots=True, eq=False)
class RowTexts:
    """What the rows of a table's tags look like: kind and ready-made bytes by tag index."""

    kind: NDArray[np.uint8]
    pieces: Bytes
    places: Ends
    longest: int  # bytes of the longest head and tail together

    @classmethod
    def of(cls, heads: Sequence[bytes], kinds: Sequence[int]) -> RowTexts:
        """heads[tag] is all that stands before the time."""
        tails = [tail(code) for code in range(256)]
        lengths = np.fromiter((len(piece) for piece in (*heads, *tails)), np.int64, len(heads) + 256)
        places = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=places[1:])
        pieces = np.frombuffer(bytearray(b"".join((*heads, *tails))), np.uint8)
        longest = max(map(len, heads), default=0) + max(map(len, tails))
        return cls(np.array(kinds, np.uint8), pieces, places, longest)

    def rows(self, readings: Readings, unit_ns: int) -> tuple[Bytes, Ends]:
        """The text of all rows, a comma behind each, and where each row ends (its comma included). IndexError.

        Times are whole multiples of `unit_ns`, rounded down. A bad reading's value is null except for reason range.
        """
        tag = np.ascontiguousarray(readings.tag)
        if len(tag) and tag.max() >= len(self.kind):
            raise IndexError("a tag index beyond the table")
        quality = np.ascontiguousarray(readings.quality)
        shown = np.where((quality < _BAD) | (quality == _RANGE), readings.value, np.nan)
        numbers = np.frombuffer(bytearray(orjson.dumps(shown, option=orjson.OPT_SERIALIZE_NUMPY)), np.uint8)[1:-1]
        texts = [_quoted(readings, value) for value in shown[self.kind[tag] == TEXT].tolist()]
        text_ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        blob = np.frombuffer(bytearray(b"".join(texts)), np.uint8)
        out = np.empty(len(readings) * (self.longest + 2 * _NUMBER + _MIDDLE + 1) + len(blob), np.uint8)
        ends = np.empty(len(readings), np.int64)
        time = readings.time_ns // unit_ns
        used = stitch(
            out, ends, tag, time, shown, quality, self.kind, self.pieces, self.places, numbers, blob, text_ends
        )
        return out[:used], ends


def _quoted(readings: Readings, value: float) -> bytes:
    text = readings.texts.get(int(value)) if math.isfinite(value) else None
    if text is None:
        return b"null"
    try:
        return orjson.dumps(text)
    except TypeError:  # half a surrogate pair, from a device that sends no UTF-8
        return orjson.dumps(text.encode(errors="replace").decode())


def warm() -> None:
    """Compile the kernel, or load it from the cache, with the dtypes it is called with."""
    RowTexts.of([b"{"], [REAL]).rows(
        Readings(np.zeros(1, np.uint32), np.zeros(1, np.int64), np.zeros(1, np.float64), np.zeros(1, np.uint8)), 1
    )
