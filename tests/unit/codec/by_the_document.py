"""A decoder written from docs/columns-format.md alone, as a receiver in any language would: slow and plain.

It must not import anything of the gateway. Whatever it cannot know from the document is a gap in the document.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import zstandard

NO_VALUE: Final = 0x7FF8000000000000
UNIT_NS: Final = (1, 1_000, 1_000_000, 1_000_000_000)
Row = tuple[int, int, int, int]  # tag, time in ns, bits of the value, quality code


class Bytes:
    """What is left to read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        assert self.at + count <= len(self.data)
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        number = shift = 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def pairs(self) -> list[int]:
        found: list[int] = []
        for _ in range(self.varint()):
            number = self.varint()
            found += [number] * (self.varint() + 1)
        return found

    def plane(self, count: int) -> bytes:
        size = self.varint()
        if size == 0:
            return self.take(1) * count
        if size == count:
            return self.take(count)
        return zstandard.ZstdDecompressor().decompress(self.take(size), max_output_size=count)

    def planes(self, count: int, width: int) -> list[int]:
        columns = [self.plane(count) for _ in range(width)]
        return [sum(column[at] << (8 * place) for place, column in enumerate(columns)) for at in range(count)]

    def stream(self, code: int, count: int) -> list[int]:
        if code == 0:
            return [self.varint() for _ in range(count)]
        if code == 1:
            found = self.pairs()
            assert len(found) == count
            return found
        if code == 2:
            halves = [half for byte in self.take((count + 1) // 2) for half in (byte & 15, byte >> 4)]
            return halves[:count]
        (width,) = self.take(1)
        return self.planes(count, width)


def zigzag(number: int) -> int:
    return number >> 1 if number % 2 == 0 else -(number + 1 >> 1)


@dataclass
class Message:
    """What a message says."""

    dictionary: str = ""
    boot: str = ""
    block: int = 0
    part: int | None = None
    gateway: str = ""
    device: str = ""
    rows: list[Row] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)


def message(data: bytes) -> Message:
    """The whole message."""
    body, crc = data[:-4], int.from_bytes(data[-4:], "little")
    assert zlib.crc32(body) == crc
    source, found = Bytes(body), Message()
    version, flags = source.take(2)
    assert version == 1
    found.dictionary, found.boot = source.take(8).hex(), source.take(3).hex()
    found.block = source.varint()
    if flags & 1:
        found.part = source.varint()
    if flags & 2:
        found.gateway = source.take(source.varint()).decode()
    if flags & 4:
        found.device = source.take(source.varint()).decode()
    found.rows, found.texts = block(source)
    return found


def block(source: Bytes) -> tuple[list[Row], dict[int, str]]:
    """The block at the place reached, which ends with the bytes given."""
    version, flags = source.take(2)
    assert version == 1
    if flags & 4:
        length = source.varint()
        frame = source.take(len(source.data) - source.at)
        source = Bytes(zstandard.ZstdDecompressor().decompress(frame, max_output_size=length))
        assert len(source.data) == length
    word = int.from_bytes(source.take(2), "little")
    count, runs, distinct = source.varint(), source.varint(), source.varint()
    first = zigzag(source.varint())
    missing = source.pairs() if flags & 8 else [0] * count
    quality = source.pairs() if flags & 16 else [0] * count

    def stream(number: int, length: int) -> list[int]:
        return source.stream(word >> (2 * number) & 3, length)

    heads = stream(0, runs)
    lengths = iter(stream(1, sum(head & 3 == 1 for head in heads)))
    tags, sizes = _runs(heads, lengths)
    fresh = sum(size for head, size in zip(heads, sizes, strict=True) if not head & 2)
    places = _places(heads, sizes, stream(2, fresh))
    ticks = [first]
    for gap in stream(3, max(0, distinct - 1)):
        ticks.append(ticks[-1] + gap)
    modes = stream(4, runs)
    rows = [(run, row) for run, row in _rows(sizes) if not missing[row]]
    whole = [(run, row) for run, row in rows if modes[run] not in {15, 16}]
    mantissas = iter(map(zigzag, stream(5, len(whole))))
    adjustments = iter(map(zigzag, stream(6, sum(modes[run] >= 33 for run, _ in whole))))
    narrow = [row for run, row in rows if modes[run] == 15]
    wide = [row for run, row in rows if modes[run] == 16]
    bits = [NO_VALUE] * count
    if flags & 64:
        for chosen, width in ((narrow, 4), (wide, 8)):
            patterns = _floats(source, width)
            assert len(patterns) == len(chosen)
            for row, pattern in zip(chosen, patterns, strict=True):
                bits[row] = _bits(struct.unpack("<f", pattern.to_bytes(4, "little"))[0]) if width == 4 else pattern
    texts = _texts(source) if flags & 32 else {}
    assert source.at == len(source.data)
    for run, members in _grouped(whole).items():
        mode = modes[run]
        twice = 18 <= mode <= 32 or mode >= 48
        for row, mantissa in zip(members, _summed([next(mantissas) for _ in members], twice), strict=True):
            if mode == 17:
                bits[row] = _bits(float(list(texts)[mantissa]))
                continue
            exponent = next(mode - start for start in (48, 33, 18, 0) if mode >= start)
            bits[row] = _bits(mantissa / 10.0**exponent)
            if mode >= 33:
                bits[row] += next(adjustments)
    unit = UNIT_NS[flags & 3]
    return [(tags[run], ticks[places[row]] * unit, bits[row] % 2**64, quality[row]) for run, row in _rows(sizes)], texts


def _runs(heads: list[int], lengths: Iterator[int]) -> tuple[list[int], list[int]]:
    tags, sizes, tag = list[int](), list[int](), -1
    for head in heads:
        tag += (head >> 2) + 1
        tags.append(tag)
        if head & 2:
            sizes.append(sizes[-1])
        else:
            sizes.append(next(lengths) + 2 if head & 1 else 1)
    return tags, sizes


def _rows(sizes: list[int]) -> list[tuple[int, int]]:
    """(run, row) of every row."""
    runs = [run for run, size in enumerate(sizes) for _ in range(size)]
    return [(run, row) for row, run in enumerate(runs)]


def _places(heads: list[int], sizes: list[int], steps: list[int]) -> list[int]:
    """Each row's place among the distinct times."""
    found: list[int] = []
    taken = iter(map(zigzag, steps))
    first, last = 0, list[int]()
    for head, size in zip(heads, sizes, strict=True):
        if not head & 2:
            first += next(taken)
            last = [first]
            while len(last) < size:
                last.append(last[-1] + next(taken) + 1)
        found += last
    return found


def _floats(source: Bytes, width: int) -> list[int]:
    count = source.varint()
    patterns = source.planes(count, width) if count else []
    for before, at in pairwise(range(count)):
        patterns[at] ^= patterns[before]
    return patterns


def _texts(source: Bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for _ in range(source.varint()):
        length = source.varint()
        key = int.from_bytes(source.take(8), "little") if length % 2 else None
        text = source.take(length // 2)
        if key is None:
            key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 12
        found[key] = text.decode("utf-8", "surrogatepass")
    return found


def _grouped(rows: list[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for run, row in rows:
        found.setdefault(run, []).append(row)
    return found


def _summed(steps: list[int], twice: bool) -> list[int]:
    """Numbers of their differences; `twice`: from the third on differences of differences."""
    if twice:
        for before, at in pairwise(range(1, len(steps))):
            steps[at] += steps[before]
    for before, at in pairwise(range(len(steps))):
        steps[at] += steps[before]
    return steps


def _bits(number: float) -> int:
    return int.from_bytes(struct.pack("<d", number), "little")
