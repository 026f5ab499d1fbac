"""The encoder's first half: rows -> runs of one tag -> streams of numbers.

n rows; all arrays contiguous, columns as in a Readings. Constants stand here as plain numbers, since a compiled kernel
takes them over from its own file only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.codec.layout import ADJUST as _ADJUST
from gateway.codec.layout import DECIMALS as _DECIMALS
from gateway.codec.layout import FLOAT32 as _FLOAT32
from gateway.codec.layout import FLOAT64 as _FLOAT64
from gateway.codec.layout import NAN_BITS as _NAN
from gateway.codec.layout import NEAR as _NEAR
from gateway.codec.layout import NEAR_SECOND as _NEAR_SECOND
from gateway.codec.layout import POWERS as _POWERS
from gateway.codec.layout import SECOND as _SECOND
from gateway.codec.layout import TEXT as _TEXT
from gateway.compiled import kernel
from gateway.readings import TagColumn, TimeColumn, ValueColumn

Numbers = NDArray[np.uint64]
Indices = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_EXACT = 9007199254740992.0  # 2**53: integers below it are exact in float64
_SMALL = 1099511627776.0  # 2**40: larger numbers cost no less than the bits of the double


@kernel
def _divides(time_ns: Any, unit: int) -> bool:
    if unit == 3:  # constants, since a division by a variable takes ten times as long
        return bool(time_ns % 1_000_000_000 == 0)
    if unit == 2:
        return bool(time_ns % 1_000_000 == 0)
    return bool(unit == 0 or time_ns % 1_000 == 0)


@kernel
def survey(tag: TagColumn, time_ns: TimeColumn, bits: Indices, quality: Bytes, found: Indices) -> None:
    """Put into found i8[5] the largest unit (0 ns, 1 us, 2 ms, 3 s) that divides all times, and what occurs.

    Which is: a tag below the one before, a time before the one before, a missing value, a quality that is not good.
    bits: of the values.
    """
    unit, falling, back, missing, marked = 3, False, False, False, False
    gap: Any = np.int64(0)
    for row in range(tag.size):
        if unit == 0:
            break
        if row > 0 and time_ns[row] - time_ns[row - 1] == gap:  # on a grid a division each would be all the work
            continue
        while not _divides(time_ns[row], unit):
            unit -= 1
        if row > 0:
            gap = time_ns[row] - time_ns[row - 1]
    later, beyond = time_ns[1:], tag[1:]
    for row in range(beyond.size):  # a loop for each column: the compiler takes several rows at once
        falling |= beyond[row] < tag[row]
    for row in range(later.size):
        back |= later[row] < time_ns[row]
    for row in range(tag.size):
        missing |= bits[row] == _NAN
    for row in range(tag.size):
        marked |= quality[row] != 0
    found[0], found[1], found[2], found[3], found[4] = unit, falling, back, missing, marked


@kernel
def tabulate(time_ns: TimeColumn, order: Indices, unit: int, gaps: Numbers, index: Indices) -> int:
    """Which of the distinct times each row has, and the gaps between those in the unit; returns how many they are.

    order: rows by rising time; no rows where they stand so already.
    """
    count = 0
    before: Any = np.int64(0)
    for place in range(time_ns.size):
        row = order[place] if order.size else place
        now = time_ns[row]
        if place == 0 or now != before:
            if place > 0:
                gap = np.uint64(now) - np.uint64(before)
                if unit == 3:
                    gap //= np.uint64(1_000_000_000)
                elif unit == 2:
                    gap //= np.uint64(1_000_000)
                elif unit == 1:
                    gap //= np.uint64(1_000)
                gaps[count - 1] = gap
            count += 1
            before = now
        index[row] = count - 1
    return count


@kernel
def _zigzag(number: Any) -> Any:
    return (number << 1) ^ (number >> 63)


@kernel
def _fits(value: float, exponent: int) -> bool:
    scaled = np.rint(value * _POWERS[exponent])
    if not abs(scaled) < _EXACT:
        return False
    return bool(scaled / _POWERS[exponent] == value)


@kernel
def _all_fit(value: ValueColumn, bits: Indices, start: int, stop: int, exponent: int) -> bool:
    for row in range(start, stop):  # noqa: SIM110  # numba knows no generators
        if bits[row] != _NAN and not _fits(value[row], exponent):
            return False
    return True


@kernel
def _decimals(value: ValueColumn, bits: Indices, start: int, stop: int) -> int:
    """The least exponent that all values of a run share, -1 where there is none."""
    exponent, raised = 0, start
    for row in range(start, stop):
        if bits[row] == _NAN:
            continue
        if bits[row] == -9223372036854775808:  # minus zero has no decimal form
            return -1
        while not _fits(value[row], exponent):
            exponent += 1
            raised = row
            if exponent > _DECIMALS:
                return -1
    # A value that fits a lower exponent may be too large for a higher one.
    return exponent if _all_fit(value, bits, start, raised, exponent) else -1


@kernel
def _near(value: ValueColumn, bits: Indices, start: int, stop: int, pair: ValueColumn, seen: Indices) -> int:
    """The least exponent by which all values are a few doubles off a decimal number, -1 where there is none.

    pair f8[1] and seen i8[1]: the same eight bytes.
    """
    for exponent in range(_DECIMALS + 1):
        fitting = True
        for row in range(start, stop):
            if bits[row] == _NAN:
                continue
            scaled = np.rint(value[row] * _POWERS[exponent])
            if not abs(scaled) < _SMALL:
                return -1
            pair[0] = scaled / _POWERS[exponent]
            off = bits[row] - seen[0]
            if off > _ADJUST or off < -_ADJUST:
                fitting = False
                break
        if fitting:
            return exponent
    return -1


@kernel
def _is_float32(value: ValueColumn, bits: Indices, start: int, stop: int) -> bool:
    for row in range(start, stop):
        if bits[row] != _NAN and np.float64(np.float32(value[row])) != value[row]:
            return False
    return True


@kernel
def split(
    tag: TagColumn,
    index: Indices,
    value: ValueColumn,
    bits: Indices,
    text: Indices,
    numbers: Numbers,
    singles: NDArray[np.float32],
    doubles: ValueColumn,
    counts: Indices,
) -> None:
    """Cut rows sorted by tag into runs and those into streams.

    index: each row's distinct time. bits: of `value`. text: each row's index in the text table, -1: none, or no rows.
    numbers u8[7, n]: the streams in the order of the format (not the times). singles, doubles: values of runs that are
    no decimals. counts i8[9]: how many of each were written, in this order.
    """
    heads, lengths, steps, modes, mantissas = numbers[0], numbers[1], numbers[2], numbers[4], numbers[5]
    adjustments = numbers[6]
    pair = np.empty(1, np.float64)
    seen_bits = pair.view(np.int64)
    n = tag.size
    n_heads = n_lengths = n_steps = n_mantissas = n_adjustments = n_singles = n_doubles = 0
    habit = 0  # the exponent of the run before: where it fits too, the modes are all alike
    previous_tag: Any = np.int64(-1)
    previous_start, previous_size, first_index = 0, 0, 0
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and tag[stop] == tag[start]:
            stop += 1
        size = stop - start
        same = size == previous_size
        if same:
            for row in range(size):
                if index[start + row] != index[previous_start + row]:
                    same = False
                    break
        head = (np.int64(tag[start]) - previous_tag - 1) << 2
        if same:
            head |= 2
        elif size > 1:
            head |= 1
            lengths[n_lengths] = size - 2
            n_lengths += 1
        heads[n_heads] = head
        if not same:
            steps[n_steps] = _zigzag(index[start] - first_index)
            first_index = index[start]
            for row in range(start + 1, stop):
                steps[n_steps + row - start] = _zigzag(index[row] - index[row - 1] - 1)
            n_steps += size
        mode = -1
        if text.size > 0:
            mode = _TEXT
            for row in range(start, stop):
                if text[row] < 0 and bits[row] != _NAN:
                    mode = -1
                    break
        exponent, near = 0, False
        if mode < 0:
            exponent = _decimals(value, bits, start, stop)
            if 0 <= exponent < habit <= exponent + 3 and _all_fit(value, bits, start, stop, habit):
                exponent = habit
            if exponent >= 0:
                mode = habit = exponent
            elif _is_float32(value, bits, start, stop):
                mode = _FLOAT32
            else:
                exponent = _near(value, bits, start, stop, pair, seen_bits)
                near = exponent >= 0
                mode = _NEAR + exponent if near else _FLOAT64
        if mode == _FLOAT32:
            for row in range(start, stop):
                if bits[row] != _NAN:
                    singles[n_singles] = np.float32(value[row])
                    n_singles += 1
        elif mode == _FLOAT64:
            for row in range(start, stop):
                if bits[row] != _NAN:
                    doubles[n_doubles] = value[row]
                    n_doubles += 1
        else:
            first, once, twice, seen = n_mantissas, 0.0, 0.0, 0
            number: Any = np.int64(0)
            before: Any = np.int64(0)
            step: Any = np.int64(0)
            step_before: Any = np.int64(0)
            for row in range(start, stop):
                if bits[row] == _NAN:
                    continue
                number = text[row] if mode == _TEXT else np.int64(np.rint(value[row] * _POWERS[exponent]))
                if near:
                    pair[0] = np.float64(number) / _POWERS[exponent]
                    adjustments[n_adjustments] = _zigzag(bits[row] - seen_bits[0])
                    n_adjustments += 1
                step = number - before
                mantissas[n_mantissas] = _zigzag(step)
                n_mantissas += 1
                if seen > 1:
                    once += abs(step)
                    twice += abs(step - step_before)
                seen, before, step_before = seen + 1, number, step
            if mode != _TEXT and seen > 4 and twice < once:
                mode += _NEAR_SECOND - _NEAR if near else _SECOND
                step_before = np.int64(0)
                for at in range(first + 1, n_mantissas):
                    folded = np.int64(mantissas[at])
                    step = (folded >> 1) ^ -(folded & 1)
                    if at > first + 1:
                        mantissas[at] = _zigzag(step - step_before)
                    step_before = step
        modes[n_heads] = mode
        n_heads += 1
        previous_tag, previous_start, previous_size = np.int64(tag[start]), start, size
        start = stop
    counts[0], counts[1], counts[2], counts[4] = n_heads, n_lengths, n_steps, n_heads
    counts[5], counts[6], counts[7], counts[8] = n_mantissas, n_adjustments, n_singles, n_doubles
