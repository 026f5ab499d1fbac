"""What a tag table means for an upstream: which tags may leave, which device each belongs to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.readings import Mask, Readings, TagTable
from gateway.upstream.select import mask

_KEPT: Final = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """By tag index: `chosen` (None: every tag may leave) and `device`, an index into `devices`."""

    table: TagTable
    chosen: Mask | None
    device: NDArray[np.int32]
    devices: list[str]

    @classmethod
    def of(cls, table: TagTable, select: list[str] | None) -> Layout:
        """The layout of a table under an upstream's `select:`."""
        devices: dict[str, int] = {}
        column = np.fromiter((devices.setdefault(tag.device, len(devices)) for tag in table), np.int32, len(table))
        return cls(table, None if select is None else mask(select, table), column, list(devices))

    def leaving(self, readings: Readings) -> Readings:
        """The readings that may leave."""
        if self.chosen is None:
            return readings
        kept = self.chosen[readings.tag]
        return readings if kept.all() else readings.where(kept)

    def sorted(self, readings: Readings) -> Readings:
        """The readings device by device, each device's in their order."""
        device = self.device[readings.tag]
        if not len(device) or (device[1:] >= device[:-1]).all():
            return readings
        return readings.where(np.argsort(device, kind="stable"))

    def runs(self, readings: Readings) -> Iterator[tuple[int, int, int]]:
        """(device, start, stop) of each run of one device in readings that are sorted."""
        device = self.device[readings.tag]
        starts = [0, *(np.flatnonzero(np.diff(device)) + 1).tolist(), len(device)]
        for start, stop in pairwise(starts):
            if stop > start:
                yield int(device[start]), start, stop


class PerTable(Generic[T]):
    """What is derived from a table, kept for the tables seen last (a backlog may hold older ones)."""

    def __init__(self, derive: Callable[[TagTable], T]) -> None:
        self._derive = derive
        self._kept: dict[int, tuple[TagTable, T]] = {}

    def __call__(self, table: TagTable) -> T:
        """The derived thing, made at first use."""
        found = self._kept.get(id(table))
        if found is None:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            found = self._kept[id(table)] = (table, self._derive(table))
        return found[1]
