"""The decoder's compiled form, for small blocks; `docs/columns-format.md` describes the bytes.

It reads only what it is sure of and says so: all else (damage, planes under zstd) is the plain decoder's to judge.
Counts are checked against the rows before anything is written, places against the end before anything is read.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.codec.layout import DECIMALS as _DECIMALS
from gateway.codec.layout import FLOAT32 as _FLOAT32
from gateway.codec.layout import FLOAT64 as _FLOAT64
from gateway.codec.layout import LAST_MODE as _LAST_MODE
from gateway.codec.layout import NAN_BITS as _NAN
from gateway.codec.layout import NEAR as _NEAR
from gateway.codec.layout import NEAR_SECOND as _NEAR_SECOND
from gateway.codec.layout import NULLS as _NULLS
from gateway.codec.layout import POWERS as _POWERS
from gateway.codec.layout import QUALITY as _QUALITY
from gateway.codec.layout import REALS as _REALS
from gateway.codec.layout import SECOND as _SECOND
from gateway.codec.layout import TEXT as _TEXT
from gateway.codec.layout import UNIT_MASK as _UNIT_MASK
from gateway.compiled import kernel
from gateway.readings import QualityColumn, TagColumn, TimeColumn

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.uint64]
Indices = NDArray[np.int64]

_UNITS: Final = np.array([1, 1_000, 1_000_000, 1_000_000_000], np.int64)


@kernel
def _varint(body: Bytes, at: int, into: Numbers, place: int) -> int:
    """Put the number at `at` into its place; returns where the next stands, -1 where there is none of 64 bits."""
    number = np.uint64(0)
    for digit in range(10):
        if at >= body.size:
            return -1
        byte = body[at]
        at += 1
        if digit == 9 and byte > 1:
            return -1
        number |= np.uint64(byte & np.uint8(0x7F)) << np.uint64(7 * digit)
        if byte < 0x80:
            into[place] = number
            return at
    return -1


@kernel
def _pairs(body: Bytes, at: int, count: Any, into: Numbers) -> int:
    pair = np.empty(2, np.uint64)
    at = _varint(body, at, pair, 0)
    if at < 0 or pair[0] > np.uint64(count):
        return -1
    done: Any = 0
    for _ in range(np.int64(pair[0])):
        at = _varint(body, at, pair, 0)
        if at < 0:
            return -1
        at = _varint(body, at, pair, 1)
        if at < 0 or pair[1] >= np.uint64(count - done):
            return -1
        stop = done + np.int64(pair[1]) + 1
        for row in range(done, stop):
            into[row] = pair[0]
        done = stop
    return at if done == count else -1


@kernel
def _planes(body: Bytes, at: int, count: Any, width: Any, into: Numbers) -> int:
    size = np.empty(1, np.uint64)
    for row in range(count):
        into[row] = np.uint64(0)
    for plane in range(width):
        shift = np.uint64(8 * plane)
        at = _varint(body, at, size, 0)
        if at < 0:
            return -1
        if size[0] == 0:
            if at >= body.size:
                return -1
            for row in range(count):
                into[row] |= np.uint64(body[at]) << shift
            at += 1
        elif size[0] == np.uint64(count):
            if count > body.size - at:
                return -1
            for row in range(count):
                into[row] |= np.uint64(body[at + row]) << shift
            at += count
        else:
            return -1
    return at


@kernel
def _stream(body: Bytes, at: int, coding: Any, count: Any, into: Numbers) -> int:
    """Read `count` numbers; returns where the next thing stands, -1 where this form can't."""
    if coding == 0:
        for row in range(count):
            at = _varint(body, at, into, row)
            if at < 0:
                return -1
        return at
    if coding == 1:
        return _pairs(body, at, count, into)
    if coding == 2:
        size: int = (count + 1) // 2
        if size > body.size - at:
            return -1
        for row in range(count):
            into[row] = np.uint64(body[at + (row >> 1)] >> np.uint8(4 * (row & 1)) & np.uint8(15))
        return at + size
    if at >= body.size or body[at] < 1 or body[at] > 8:
        return -1
    return _planes(body, at + 1, count, np.int64(body[at]), into)


@kernel
def _unfolded(number: Any) -> Any:
    return np.int64(number >> np.uint64(1)) ^ -np.int64(number & np.uint64(1))


@kernel
def _sized(heads: Numbers, lengths: Numbers, runs: Any, rows: Any, sizes: Indices) -> bool:
    """Each run's rows; False where they don't make up the block."""
    used, total = 0, 0
    size: Any = np.int64(0)
    for run in range(runs):
        kind = heads[run] & np.uint64(3)
        if kind == 0:
            size = np.int64(1)
        elif kind == 1:
            if lengths[used] > np.uint64(rows):
                return False
            size = np.int64(lengths[used]) + 2
            used += 1
        elif run == 0:
            return False
        total += size
        if total > rows:
            return False
        sizes[run] = size
    return bool(total == rows)


@kernel
def _placed(heads: Numbers, sizes: Indices, steps: Numbers, distinct: Any, tag: TagColumn, time_ns: TimeColumn) -> bool:
    """Each row's tag, and its place among the distinct times where its time will be; False where there is none such."""
    row, used, source = 0, 0, 0
    first: Any = np.int64(0)
    index: Any = np.int64(0)
    number: Any = np.int64(-1)
    for run in range(sizes.size):
        ahead = heads[run] >> np.uint64(2)
        if ahead >> np.uint64(32) != 0:
            return False
        number += np.int64(ahead) + 1
        if number > 0xFFFFFFFF:
            return False
        repeats = heads[run] & np.uint64(2) != 0
        if not repeats:
            source = row
        for place in range(sizes[run]):
            tag[row + place] = np.uint32(number)
            if repeats:
                time_ns[row + place] = time_ns[source + place]
                continue
            index = _unfolded(steps[used]) + (first if place == 0 else index + 1)
            if place == 0:
                first = index
            if index < 0 or index >= distinct:
                return False
            time_ns[row + place] = index
            used += 1
        row += sizes[run]
    return True


@kernel
def _timed(first: Any, gaps: Numbers, distinct: Any, unit: Any, time_ns: TimeColumn) -> None:
    times = np.empty(distinct, np.int64)
    tick: Any = _unfolded(first)
    for place in range(distinct):
        if place > 0:
            tick += np.int64(gaps[place - 1])
        times[place] = tick * unit
    for row in range(time_ns.size):
        time_ns[row] = times[time_ns[row]]


@kernel
def _counted(modes: Numbers, sizes: Indices, bits: Indices, found: Indices) -> bool:
    """Put into found i8[5]: how many whole numbers, adjusted, float32, float64, texts; False: an unknown mode."""
    for kind in range(5):
        found[kind] = 0
    row = 0
    for run in range(sizes.size):
        if modes[run] > np.uint64(_LAST_MODE):
            return False
        mode, valued = np.int64(modes[run]), 0
        for place in range(row, row + sizes[run]):
            if bits[place] != _NAN:
                valued += 1
        if mode == _FLOAT32:
            found[2] += valued
        elif mode == _FLOAT64:
            found[3] += valued
        else:
            found[0] += valued
            if mode >= _NEAR:
                found[1] += valued
            if mode == _TEXT:
                found[4] += valued
        row += sizes[run]
    return True


@kernel
def _valued(
    modes: Numbers,
    sizes: Indices,
    mantissas: Numbers,
    adjustments: Numbers,
    floats: Numbers,
    bits: Indices,
    text: Indices,
) -> bool:
    """The bits of all rows that have a value. floats u8[2, ...]: float32, float64. False: a text before the first."""
    real, narrow = np.empty(1, np.float64), np.empty(1, np.uint32)
    seen, short = real.view(np.int64), narrow.view(np.float32)
    row, used, near, single, double = 0, 0, 0, 0, 0
    value: Any = np.int64(0)
    step: Any = np.int64(0)
    for run in range(sizes.size):
        mode, begun = np.int64(modes[run]), False
        twice = _SECOND <= mode < _NEAR or mode >= _NEAR_SECOND
        exponent: Any = np.int64(0)
        if mode <= _DECIMALS:
            exponent = mode
        elif mode >= _NEAR_SECOND:
            exponent = mode - _NEAR_SECOND
        elif mode >= _NEAR:
            exponent = mode - _NEAR
        elif mode >= _SECOND:
            exponent = mode - _SECOND
        power = _POWERS[exponent]
        for place in range(row, row + sizes[run]):
            if bits[place] == _NAN:
                continue
            if mode == _FLOAT32:
                narrow[0] = np.uint32(floats[0, single] & np.uint64(0xFFFFFFFF))
                real[0] = np.float64(short[0])
                bits[place] = seen[0]
                single += 1
                continue
            if mode == _FLOAT64:
                bits[place] = np.int64(floats[1, double])
                double += 1
                continue
            number = _unfolded(mantissas[used])
            used += 1
            if not begun:
                value, step, begun = number, np.int64(0), True
            elif twice:
                step += number
                value += step
            else:
                value += number
            if mode == _TEXT:
                if value < 0:
                    return False
                text[place] = value
                continue
            real[0] = np.float64(value) / power
            bits[place] = seen[0]
            if mode >= _NEAR:
                bits[place] += _unfolded(adjustments[near])
                near += 1
        row += sizes[run]
    return True


@kernel
def read(
    body: Bytes,
    at: int,
    flags: int,
    tag: TagColumn,
    time_ns: TimeColumn,
    bits: Indices,
    quality: QualityColumn,
    text: Indices,
) -> int:
    """Fill the columns (all as long as the block's rows) from the block whose coding word stands at `at`.

    bits: of the values; of a text its place in the table stands in `text`, -1 elsewhere (no rows where the block has no
    texts). Returns where the texts stand or the block ends, -1 where the plain decoder is to judge.
    """
    rows = tag.size
    if at + 2 > body.size:
        return -1
    word = np.int64(body[at]) | np.int64(body[at + 1]) << 8
    counts = np.empty(4, np.uint64)
    at += 2
    for place in range(4):
        at = _varint(body, at, counts, place)
        if at < 0:
            return -1
    limit = np.uint64(rows)
    if counts[0] != limit or counts[1] > limit or counts[2] > limit or word >> 14 != 0:
        return -1
    runs, distinct = np.int64(counts[1]), np.int64(counts[2])
    numbers = np.empty((7, rows), np.uint64)
    for code in range(2):
        for row in range(rows):
            numbers[code, row] = np.uint64(0)
        if flags & (_QUALITY if code else _NULLS):
            at = _pairs(body, at, rows, numbers[code])
            if at < 0:
                return -1
    for row in range(rows):
        bits[row] = _NAN if numbers[0, row] != 0 else 0
        quality[row] = np.uint8(numbers[1, row] & np.uint64(0xFF))

    sizes, found = np.empty(runs, np.int64), np.zeros(5, np.int64)
    heads, lengths, steps, gaps, modes = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    count: Any = np.int64(0)
    for place in range(7):  # one call for all seven: it is compiled into its caller as often as it stands there
        if place == 1:
            count = np.int64(0)
            for run in range(runs):
                count += np.int64(heads[run] & np.uint64(3) == 1)
        elif place == 2:
            if not _sized(heads, lengths, runs, rows, sizes):
                return -1
            count = np.int64(0)
            for run in range(runs):
                if heads[run] & np.uint64(2) == 0:
                    count += sizes[run]
        elif place == 3:
            if not _placed(heads, sizes, steps, distinct, tag, time_ns):
                return -1
            count = max(np.int64(0), distinct - 1)
        elif place == 5:
            if not _counted(modes, sizes, bits, found):
                return -1
            count = found[0]
        elif place == 6:
            count = found[1]
        else:
            count = runs
        at = _stream(body, at, word >> (2 * place) & 3, count, numbers[place])
        if at < 0:
            return -1
    if distinct > 0:
        _timed(counts[3], gaps, distinct, _UNITS[flags & _UNIT_MASK], time_ns)

    floats = np.empty((2, max(found[2], found[3])), np.uint64)
    if flags & _REALS:
        for kind in range(2):
            count = found[2 + kind]
            at = _varint(body, at, counts, 0)
            if at < 0 or counts[0] != np.uint64(count):
                return -1
            if count > 0:
                at = _planes(body, at, count, 4 + 4 * kind, floats[kind])
                if at < 0:
                    return -1
            for row in range(1, count):
                floats[kind, row] ^= floats[kind, row - 1]
    elif found[2] + found[3] > 0:
        return -1
    if found[4] > 0 and text.size != rows:
        return -1
    return at if _valued(modes, sizes, numbers[5], numbers[6], floats, bits, text) else -1
