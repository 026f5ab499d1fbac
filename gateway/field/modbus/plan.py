"""From wanted values to few block reads. Pure.

    spans (address, width) --plan--> blocks: every span wholly in one block, no block above the limit

A span is never split. Registers that no span wants are read over only up to `max_gap`, and never across what the
device is known to refuse.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple


class Span(NamedTuple):
    """Registers (or bits) of one value."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Block:
    """One read request: a function code, a range, and the spans it serves."""

    function: int
    start: int
    stop: int
    spans: tuple[Span, ...]  # sorted, without repeats

    @property
    def count(self) -> int:
        """Registers or bits asked for."""
        return self.stop - self.start

    @property
    def payload_bytes(self) -> int:
        """Data bytes of a right answer."""
        return 2 * self.count if self.function > 2 else self.count + 7 >> 3

    @classmethod
    def of(cls, function: int, spans: Sequence[Span]) -> Block:
        """The smallest block over sorted spans."""
        return cls(function, spans[0].start, max(span.stop for span in spans), tuple(spans))

    def halves(self) -> tuple[Block, Block] | None:
        """Two smaller blocks, cut at the hole nearest to the middle or, without a hole, nearest to the middle itself.

        None where there is only one span.
        """
        if len(self.spans) < 2:
            return None
        middle = (self.start + self.stop) / 2
        reach = list(accumulate((span.stop for span in self.spans), max))
        at = min(
            range(1, len(self.spans)),
            key=lambda index: (self.spans[index].start <= reach[index - 1], abs(self.spans[index].start - middle)),
        )
        return Block.of(self.function, self.spans[:at]), Block.of(self.function, self.spans[at:])


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a request may be, and how many unwanted places it may read over."""

    most: int
    gap: int = 0


def plan(
    function: int, spans: Iterable[Span], limits: Limits, refused: Collection[Span] = (), cuts: Collection[int] = ()
) -> list[Block]:
    """The blocks of one function code, in ascending order.

    `refused` spans are left out and never read over; no block reaches across a position of `cuts`.
    ValueError where a span is wider than the limit.
    """
    walls, holes = sorted(cuts), sorted({place for span in refused for place in range(*span)})
    blocks: list[Block] = []
    members: list[Span] = []
    stop = 0
    for span in sorted(set(spans).difference(refused)):
        if span.stop - span.start > limits.most:
            raise ValueError(f"a value of {span.stop - span.start} places is wider than a request of {limits.most}")
        fits = (
            members
            and span.start - stop <= limits.gap
            and max(stop, span.stop) - members[0].start <= limits.most
            and not _any_of(walls, members[0].start + 1, span.start + 1)
            and not _any_of(holes, stop, span.start)
        )
        if not fits and members:
            blocks.append(Block.of(function, members))
            members = []
        members.append(span)
        stop = max(stop, span.stop) if fits else span.stop
    if members:
        blocks.append(Block.of(function, members))
    return blocks


def _any_of(places: Sequence[int], start: int, stop: int) -> bool:
    """Whether one of the sorted places lies in [start, stop)."""
    return bisect_left(places, stop) > bisect_left(places, start)
