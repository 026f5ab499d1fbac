"""The encoder's second half: streams of numbers -> bytes, each in its shortest coding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.compiled import kernel

Numbers = NDArray[np.uint64]
Indices = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@kernel
def _varint_size(number: Any) -> int:
    size = 1
    while number >= np.uint64(128):
        number >>= np.uint64(7)
        size += 1
    return size


@kernel
def _above(numbers: Numbers, limit: Any) -> Any:
    found: Any = np.int64(0)
    for at in range(numbers.size):
        found += np.int64(numbers[at] > limit)
    return found


@kernel
def measure(numbers: Numbers, counts: Indices, found: Indices) -> None:
    """Put into found i8[7, 4] each stream's best coding but planes, its bytes so, pairs, and largest number's bytes.

    numbers, counts: as of `split`, with the times.
    """
    for place in range(7):
        n = counts[place]
        row, after = numbers[place, :n], numbers[place, 1:n]
        pairs, paired = min(n, 1), 0
        largest = np.uint64(0)
        for at in range(row.size):
            largest = max(largest, row[at])
        plain = n
        for digit in range(1, 10):
            last = (np.uint64(1) << np.uint64(7 * digit)) - np.uint64(1)
            if largest <= last:
                break
            plain += _above(row, last)
        for at in range(after.size):
            pairs += row[at] != after[at]
        if pairs == 1:
            paired = _varint_size(row[0]) + _varint_size(np.uint64(n - 1))
        elif 2 * pairs + 1 < plain:  # else it can't be shorter
            run = 0
            for at in range(n):
                if at + 1 < n and row[at + 1] == row[at]:
                    run += 1
                else:
                    paired += _varint_size(row[at]) + _varint_size(np.uint64(run))
                    run = 0
        else:
            paired = plain
        width = 1
        while width < 8 and largest >> np.uint64(8 * width) > 0:
            width += 1
        coding, size = 0, plain
        if paired + 1 < size:
            coding, size = 1, paired + 1
        if largest < np.uint64(16) and n > 1 and (n + 1) // 2 < size:
            coding, size = 2, (n + 1) // 2
        found[place, 0], found[place, 1], found[place, 2], found[place, 3] = coding, size, pairs, width


@kernel
def _put(number: Any, out: Bytes, at: int) -> int:
    while number >= np.uint64(128):
        out[at] = np.uint8(number & np.uint64(127)) | np.uint8(128)
        number >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@kernel
def write(numbers: Numbers, counts: Indices, found: Indices, out: Bytes, ends: Indices) -> None:
    """Write the streams as `measure` says, one behind the other; ends i8[7] is told where. Coding 3: nothing."""
    used = 0
    for place in range(7):
        n, coding = counts[place], found[place, 0]
        if coding == 0:
            for at in range(n):
                used = _put(numbers[place, at], out, used)
        elif coding == 1 and found[place, 2] == 1:
            used = _put(np.uint64(1), out, used)
            used = _put(numbers[place, 0], out, used)
            used = _put(np.uint64(n - 1), out, used)
        elif coding == 1:
            used = _put(np.uint64(found[place, 2]), out, used)
            run = np.uint64(0)
            for at in range(n):
                if at + 1 < n and numbers[place, at + 1] == numbers[place, at]:
                    run += np.uint64(1)
                else:
                    used = _put(numbers[place, at], out, used)
                    used = _put(run, out, used)
                    run = np.uint64(0)
        elif coding == 2:
            for at in range((n + 1) // 2):
                out[used + at] = np.uint8(0)
            for at in range(n):
                out[used + (at >> 1)] |= np.uint8(numbers[place, at]) << np.uint8(4 * (at & 1))
            used += (n + 1) // 2
        ends[place] = used


@kernel
def planes(numbers: Numbers, out: Bytes) -> int:
    """Put the lowest bytes of all numbers into out[0], the second into out[1], ...; returns a bit for each varying."""
    n, width = numbers.size, out.shape[0]
    differing = np.uint64(0)
    for at in range(1, n):
        differing |= numbers[at] ^ numbers[0]
    varied = 0
    for plane in range(width):
        shift = np.uint64(8 * plane)
        if differing >> shift & np.uint64(0xFF) != 0:
            varied |= 1 << plane
        for at in range(n):
            out[plane, at] = np.uint8(numbers[at] >> shift & np.uint64(0xFF))
    return varied
