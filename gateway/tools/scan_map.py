"""Which registers of a unit answer: blocks first, smaller ones where a block is refused. The order of reads is pure.

125 at once --refused--> 16 at once --refused--> one by one
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.field.modbus.address import READ_FUNCTION, Area

Values = list[int]
Read = Callable[[int, int, int], Awaitable[Values | int]]
"""(function, first, count) -> values, or the exception code that refused them. LinkError, NoAnswerError."""

TABLES: Final[tuple[Area, ...]] = ("holding", "input", "coil", "discrete")
_LEVELS: Final = (125, 16, 1)
_ILLEGAL_FUNCTION: Final = 1


@dataclass
class TableMap:
    """What was found in one table: values by address, and the longest read that was accepted."""

    area: Area
    values: dict[int, int] = field(default_factory=dict)
    longest: int = 0
    requests: int = 0
    searched: bool = False  # to the end: only then is `longest` the longest

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Ranges that answer, as (first, last)."""
        runs: list[tuple[int, int]] = []
        for address in sorted(self.values):
            if runs and address == runs[-1][1] + 1:
                runs[-1] = runs[-1][0], address
            else:
                runs.append((address, address))
        return runs


async def search(read: Read, found: TableMap, first: int, last: int, tell: Callable[[int], None]) -> None:
    """Fill an empty table with what answers between `first` and `last`. `tell` gets the address reached so far."""
    start = first
    while start <= last:
        count = min(_LEVELS[0], last - start + 1)
        tell(start)
        if not await _try(read, found, start, count, 0):
            return
        start += count
    found.longest = await _longest(read, found)
    found.searched = True


async def again(read: Read, found: TableMap) -> dict[int, int]:
    """A second sample of everything that answered; values that are refused now are missing."""
    values: dict[int, int] = {}
    longest = max(1, found.longest)
    for first, last in found.runs:
        for start in range(first, last + 1, longest):
            count = min(longest, last - start + 1)
            answer = await read(READ_FUNCTION[found.area], start, count)
            if not isinstance(answer, int):
                values.update(enumerate(answer, start))
    return values


async def _try(read: Read, found: TableMap, start: int, count: int, level: int) -> bool:
    """Read a block or its parts; False where the unit has no such table at all."""
    answer = await read(READ_FUNCTION[found.area], start, count)
    found.requests += 1
    if not isinstance(answer, int):
        found.values.update(enumerate(answer, start))
        found.longest = max(found.longest, count)
        return True
    if answer == _ILLEGAL_FUNCTION:
        return False
    if level + 1 == len(_LEVELS) or count == 1:
        return True
    size = _LEVELS[level + 1]
    for part in range(start, start + count, size):
        if not await _try(read, found, part, min(size, start + count - part), level + 1):
            return False
    return True


async def _longest(read: Read, found: TableMap) -> int:
    """The longest read the unit accepts, where a run was refused at full length though each part answers."""
    longest = found.longest
    run = max(found.runs, key=lambda each: each[1] - each[0], default=(0, -1))
    most = min(_LEVELS[0], run[1] - run[0] + 1)
    while longest < most:
        middle = (longest + most + 1) // 2
        found.requests += 1
        if isinstance(await read(READ_FUNCTION[found.area], run[0], middle), int):
            most = middle - 1
        else:
            longest = middle
    return longest
