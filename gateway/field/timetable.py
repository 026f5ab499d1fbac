"""Whose slot is due next, in logarithmic time. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heapreplace
from typing import Generic, Protocol, TypeVar

from gateway.runtime.ticks import Grid


class OnGrid(Protocol):
    """Something that is served on a grid."""

    @property
    def grid(self) -> Grid:
        """Its slots."""


T = TypeVar("T", bound=OnGrid)


class Timetable(Generic[T]):
    """Members by their next slot; of equal ones the first given goes first."""

    def __init__(self, members: Iterable[T] = ()) -> None:
        self._heap = [(member.grid.due, order, member) for order, member in enumerate(members)]
        heapify(self._heap)

    @property
    def next(self) -> float:
        """When the next slot is due; infinity where there is nobody."""
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, now: float) -> tuple[T, float, float, int] | None:
        """Move the most overdue member on; None where nobody is due.

        Returns the member, the slot it was due for, the newest slot that is due, and how many before that were missed.
        """
        if not self._heap or self._heap[0][0] > now:
            return None
        first, order, member = self._heap[0]
        slot, missed = member.grid.take(now)
        heapreplace(self._heap, (member.grid.due, order, member))
        return member, first, slot, missed
