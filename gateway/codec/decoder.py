"""Bytes of the columns codec -> Readings, with numpy alone (`docs/columns-format.md`).

Every count is checked against what the block can hold before memory is asked for; nothing is read beyond the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.codec.layout import (
    ADJUSTMENTS,
    DECIMALS,
    FLOAT32,
    FLOAT64,
    HEADS,
    KNOWN_FLAGS,
    LAST_MODE,
    LENGTHS,
    MANTISSAS,
    MAX_ROWS,
    MODES,
    NAN_BITS,
    NEAR,
    NEAR_SECOND,
    NULLS,
    POWERS,
    QUALITY,
    REALS,
    SECOND,
    STEPS,
    TEXT,
    TEXTS,
    TIMES,
    UNIT_MASK,
    UNITS_NS,
    ZSTD,
)
from gateway.codec.source import Numbers, Source, inflated
from gateway.codec.texts import read_texts, read_varint
from gateway.errors import CodecError
from gateway.readings import NO_TEXTS, Readings

Whole = NDArray[np.int64]


def decode(body: bytes, at: int) -> Readings:
    """The readings of a block whose version byte stands before `at`; CodecError where it is none."""
    if at >= len(body):
        raise CodecError("too short")
    flags = body[at]
    if flags & ~KNOWN_FLAGS:
        raise CodecError("unknown flags")
    if flags & ZSTD:
        length, at = read_varint(body, at + 1)
        return _decode(Source(inflated(body[at:], length), 0), flags)
    return _decode(Source(body, at + 1), flags)


def _decode(source: Source, flags: int) -> Readings:
    word = int.from_bytes(source.take(2).tobytes(), "little")
    rows, runs, distinct, first = source.varint(), source.varint(), source.varint(), source.varint()
    if rows > MAX_ROWS or runs > rows or distinct > rows or word >> 14:
        raise CodecError("counts that no block has")
    null = source.pairs(rows) != 0 if flags & NULLS else np.zeros(rows, np.bool_)
    quality = source.pairs(rows) if flags & QUALITY else np.zeros(rows, np.uint64)

    def stream(place: int, count: int) -> Numbers:
        return source.stream(word >> (2 * place) & 3, count)

    heads = stream(HEADS, runs)
    runs_of = _Runs.of(heads, stream(LENGTHS, int(np.count_nonzero(heads & np.uint64(3) == 1))), rows)
    index = runs_of.indices(stream(STEPS, int(runs_of.fresh.sum())), distinct)
    times = _times(stream(TIMES, max(0, distinct - 1)), first, distinct, UNITS_NS[flags & UNIT_MASK])
    modes = stream(MODES, runs)
    if runs and int(modes.max()) > LAST_MODE:
        raise CodecError("unknown mode")
    mode = np.repeat(modes.astype(np.int64), runs_of.size)
    single, double = (mode == FLOAT32) & ~null, (mode == FLOAT64) & ~null
    whole = ~(single | double | null)
    run, whole_mode = np.repeat(np.arange(runs), runs_of.size)[whole], mode[whole]
    twice = (whole_mode >= SECOND) & (whole_mode < NEAR) | (whole_mode >= NEAR_SECOND)
    numbers = _summed(_unfolded(stream(MANTISSAS, len(run))), run, twice)
    near = whole_mode >= NEAR
    steps = _unfolded(stream(ADJUSTMENTS, int(np.count_nonzero(near))))
    value = np.full(rows, NAN_BITS, np.int64).view(np.float64)
    if flags & REALS:
        value[single] = _floats(source, int(np.count_nonzero(single)), 4)
        value[double] = _floats(source, int(np.count_nonzero(double)), 8)
    elif single.any() or double.any():
        raise CodecError("values are missing")
    texts, source.at = read_texts(source.body, source.at) if flags & TEXTS else (NO_TEXTS, source.at)
    if source.at != len(source.body):
        raise CodecError("longer than it says")
    scaled = _scaled(numbers, whole_mode, list(texts))
    scaled.view(np.int64)[near] += steps
    value[whole] = scaled
    return Readings(runs_of.tags(heads), times[index], value, quality.astype(np.uint8), texts)


@dataclass(slots=True)
class _Runs:
    """Neighbouring rows of one tag. A run repeats the times of the one before it, or (`fresh`) lists its own."""

    size: Whole
    fresh: Whole  # sizes of those with times of their own
    source: Whole  # for each run, which of these it takes

    @classmethod
    def of(cls, heads: Numbers, lengths: Numbers, rows: int) -> _Runs:
        same = heads >> np.uint64(1) & np.uint64(1) == 1
        if (len(same) and same[0]) or (len(lengths) and int(lengths.max()) > rows):
            raise CodecError("runs that no block has")
        fresh = np.ones(len(heads) - int(np.count_nonzero(same)), np.int64)
        fresh[heads[~same] & np.uint64(1) == 1] = lengths.astype(np.int64) + 2
        source = np.cumsum(~same) - 1
        size = fresh[source]
        if int(size.sum()) != rows:
            raise CodecError("runs don't make up the block")
        return cls(size, fresh, source)

    def tags(self, heads: Numbers) -> NDArray[np.uint32]:
        steps = heads >> np.uint64(2)
        if len(steps) and int(steps.max()) >> 32:
            raise CodecError("a tag beyond 32 bits")
        tag = np.cumsum(steps.astype(np.int64) + 1) - 1
        if len(tag) and int(tag[-1]) >> 32:
            raise CodecError("a tag beyond 32 bits")
        return np.repeat(tag.astype(np.uint32), self.size)

    def indices(self, steps: Numbers, distinct: int) -> Whole:
        """Each row's place in the table of times."""
        step = _unfolded(steps)
        starts = np.cumsum(self.fresh) - self.fresh
        firsts = np.cumsum(step[starts])
        step += 1
        step[starts] = firsts
        total = np.cumsum(step)
        index: Whole = total - np.repeat(total[starts] - firsts, self.fresh)
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= distinct):
            raise CodecError("a time that is not in the table")
        if len(self.fresh) == len(self.size):
            return index
        begins = np.cumsum(self.size) - self.size
        taken: Whole = index[np.repeat(starts[self.source] - begins, self.size) + np.arange(int(self.size.sum()))]
        return taken


def _times(gaps: Numbers, first: int, distinct: int, unit_ns: int) -> Whole:
    if not distinct:
        return np.empty(0, np.int64)
    start = (first >> 1) ^ -(first & 1)
    whole = np.concatenate((np.array([start & 0xFFFF_FFFF_FFFF_FFFF], np.uint64), gaps))
    return np.cumsum(whole).view(np.int64) * np.int64(unit_ns)


def _unfolded(numbers: Numbers) -> Whole:
    """Zigzag undone: 0, 1, 2, 3 stand for 0, -1, 1, -2."""
    return (numbers >> np.uint64(1)).view(np.int64) ^ -(numbers & np.uint64(1)).view(np.int64)


def _summed(steps: Whole, run: NDArray[np.intp], twice: NDArray[np.bool_]) -> Whole:
    """Differences undone within each run, `twice` where they are second differences."""
    if not len(steps):
        return steps
    is_first = np.concatenate(([True], run[1:] != run[:-1]))
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.append(starts, len(run)))
    if twice.any():
        once = _segments(np.where(is_first, 0, steps), starts, sizes)
        steps = np.where(twice & ~is_first, once, steps)
    return _segments(steps, starts, sizes)


def _segments(steps: Whole, starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> Whole:
    total = np.cumsum(steps)
    found: Whole = total - np.repeat(total[starts] - steps[starts], sizes)
    return found


def _floats(source: Source, count: int, width: int) -> NDArray[np.float64]:
    if source.varint() != count:
        raise CodecError("values are missing")
    bits = np.bitwise_xor.accumulate(source.planes(count, width)) if count else np.empty(0, np.uint64)
    if width == 8:
        return bits.view(np.float64)
    with np.errstate(invalid="ignore"):  # damage may hold a signalling NaN
        return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def _exponents() -> Whole:
    """The exponent of each mode; 0 where it has none."""
    found = np.zeros(LAST_MODE + 1, np.int64)
    for start in (0, SECOND, NEAR, NEAR_SECOND):
        found[start : start + DECIMALS + 1] = np.arange(DECIMALS + 1)
    return found


_EXPONENTS = _exponents()


def _scaled(numbers: Whole, mode: Whole, keys: list[int]) -> NDArray[np.float64]:
    exponent = _EXPONENTS[mode]
    value: NDArray[np.float64] = numbers / POWERS[exponent]
    is_text = mode == TEXT
    if is_text.any():
        at = numbers[is_text]
        if int(at.min()) < 0 or int(at.max()) >= len(keys):
            raise CodecError("a text that is not in the table")
        value[is_text] = np.array(keys, np.float64)[at]
    return value
