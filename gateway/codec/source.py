"""The bytes of a block, read from front to back. Nothing is read beyond the end, no count is believed unchecked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zstandard
from numpy.typing import NDArray

from gateway.codec.layout import MAX_BODY, NIBBLES, RLE, VARINT
from gateway.codec.texts import read_varint
from gateway.errors import CodecError

Numbers = NDArray[np.uint64]

_FEW = 40  # numbers: up to here a loop is quicker than array operations
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_LAST_SHIFT = 63


def inflated(packed: bytes, length: int) -> bytes:
    """A zstd frame that gives exactly `length` bytes; CodecError."""
    if length > MAX_BODY:
        raise CodecError("larger than a block may be")
    try:
        # The library allocates what the frame claims to hold, so that claim comes first.
        if zstandard.frame_content_size(packed) not in {length, -1}:
            raise CodecError("not as long as it says")
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
    except zstandard.ZstdError as error:
        raise CodecError(f"not decompressed: {error}") from error
    if len(plain) != length:
        raise CodecError("not as long as it says")
    return plain


@dataclass(slots=True)
class Source:
    """Bytes, and how far they are read."""

    body: bytes
    at: int

    def varint(self) -> int:
        """One number."""
        number, self.at = read_varint(self.body, self.at)
        return number

    def take(self, count: int) -> NDArray[np.uint8]:
        """The next bytes."""
        if count > len(self.body) - self.at:
            raise CodecError("shorter than it says")
        found = np.frombuffer(self.body, np.uint8, count, self.at)
        self.at += count
        return found

    def varints(self, count: int) -> Numbers:
        """Numbers one after the other."""
        if count > len(self.body) - self.at:
            raise CodecError("more numbers than bytes")
        if count <= _FEW:
            return self._few(count)
        ahead = np.frombuffer(self.body, np.uint8, min(10 * count, len(self.body) - self.at), self.at)
        ends = np.flatnonzero(ahead < 0x80)[:count] + 1
        if len(ends) < count:
            raise CodecError("ends in a number")
        starts = np.concatenate(([0], ends[:-1])) if count else ends
        lengths = ends - starts
        longest = int(lengths.max()) if count else 0
        if longest > 10:
            raise CodecError("a number is too long")
        found = np.zeros(count, np.uint64)
        for place in range(longest):
            has = lengths > place
            digits = ahead[starts[has] + place].astype(np.uint64) & np.uint64(0x7F)
            found[has] |= digits << np.uint64(7 * place)
        self.at += int(ends[-1]) if count else 0
        return found

    def _few(self, count: int) -> Numbers:
        body, at, end = self.body, self.at, len(self.body)
        found = []
        for _ in range(count):
            number = shift = 0
            while True:
                if at >= end or shift > _LAST_SHIFT:
                    raise CodecError("ends in a number, or a number is too long")
                byte = body[at]
                at += 1
                number |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
            found.append(number & _WORD)
        self.at = at
        return np.array(found, np.uint64)

    def pairs(self, count: int) -> Numbers:
        """Runs of equal numbers: how many runs, then (number, times - 1) each; `count` numbers in all."""
        runs = self.varint()
        if runs > count:
            raise CodecError("more runs than numbers")
        both = self.varints(2 * runs)
        times = both[1::2]
        if runs and int(times.max()) >= count:
            raise CodecError("runs longer than the stream")
        if int(times.sum()) + runs != count:
            raise CodecError("runs don't make up the stream")
        return np.repeat(both[0::2], times.astype(np.int64) + 1)

    def stream(self, coding: int, count: int) -> Numbers:
        """Numbers in any of the four forms."""
        if coding == VARINT:
            return self.varints(count)
        if coding == RLE:
            return self.pairs(count)
        if coding == NIBBLES:
            packed = self.take((count + 1) // 2)
            return np.stack((packed & 15, packed >> 4), axis=1).reshape(-1)[:count].astype(np.uint64)
        (width,) = self.take(1).tolist()
        if not 1 <= width <= 8:
            raise CodecError("numbers of an impossible width")
        return self.planes(count, width)

    def planes(self, count: int, width: int) -> Numbers:
        """`width` planes: each as it is, as a zstd frame (shorter than its numbers are), or one byte for all (0)."""
        wide = np.zeros((count, 8), np.uint8)
        for place in range(width):
            size = self.varint()
            if size == 0:
                wide[:, place] = self.take(1)[0]
            elif size == count:
                wide[:, place] = self.take(count)
            elif size < count:
                wide[:, place] = np.frombuffer(inflated(self.take(size).tobytes(), count), np.uint8)
            else:
                raise CodecError("a plane larger than its numbers")
        return wide.reshape(-1).view("<u8").astype(np.uint64, copy=False)
