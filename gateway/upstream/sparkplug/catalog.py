"""The metrics of the node: one per live tag that may leave, and those older tables still need. Pure.

Metric index = tag index of the table in force, alias = 1 + that. Metrics of tags that left the configuration while
blocks in the spool still hold them follow behind, with aliases of their own range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.readings import Tag, TagTable
from gateway.upstream.select import mask, selected
from gateway.upstream.sparkplug.datatypes import Datatype, datatype, field

LEFT_ALIAS: Final = 1 << 24  # tags that left the configuration
NODE_ALIAS: Final = 1 << 25  # the node's own metrics
NOT_SENT: Final = -1


class Columns(NamedTuple):
    """By metric index: alias, `Field`, `Datatype`, and the device's place in the catalog's `devices`."""

    alias: NDArray[np.uint64]
    field: NDArray[np.uint8]
    datatype: NDArray[np.uint8]
    device: NDArray[np.int64]


def metric_name(tag: str) -> str:
    """A tag's name as a Sparkplug metric: folders instead of dots."""
    return tag.replace(".", "/")


class Catalog:
    """What the births announce. `grown` says that a block needs a metric the last births did not hold."""

    def __init__(self, table: TagTable, patterns: Sequence[str] | None) -> None:
        self._patterns = patterns
        self._left: dict[tuple[str, str, Datatype], int] = {}
        self._use(table)

    def _use(self, table: TagTable) -> None:
        self.table = table
        self._left.clear()
        self.tags: list[Tag] = list(table)
        self.datatypes: list[Datatype] = [datatype(tag) for tag in table]
        self.sent: list[bool] = [
            not tag.retired and bool(may) for tag, may in zip(table, mask(self._patterns, table), strict=True)
        ]
        self._maps: dict[str, NDArray[np.int64]] = {}
        self.grown = False
        self._index()

    def _index(self) -> None:
        self._leaves = np.array(self.sent, np.bool_)
        self._by_name = {
            (tag.device, self.names(index)): index for index, tag in enumerate(self.tags) if self.sent[index]
        }
        devices: dict[str, list[int]] = {}
        for index, tag in enumerate(self.tags):
            if self.sent[index]:
                devices.setdefault(tag.device, []).append(index)
        self.devices: Mapping[str, list[int]] = devices
        table = len(self.table)
        aliases = [1 + index if index < table else LEFT_ALIAS + index - table for index in range(len(self.tags))]
        places = {device: place for place, device in enumerate(devices)}
        self._columns = Columns(
            np.array(aliases, np.uint64),
            np.array([field(kind) for kind in self.datatypes], np.uint8),
            np.array(self.datatypes, np.uint8),
            np.array([places.get(tag.device, NOT_SENT) for tag in self.tags], np.int64),
        )
        self._by_alias = {alias: index for index, alias in enumerate(aliases) if self.sent[index]}

    @property
    def columns(self) -> Columns:
        """Alias, value field and datatype by metric index."""
        return self._columns

    def names(self, index: int) -> str:
        """A metric's name, unique in its device."""
        tag = self.tags[index]
        name = metric_name(tag.name)
        if index >= len(self.table) and self.table.find(tag.full_name) is not None:
            return f"{name}/as {tag.type}"  # the name lives on with another datatype
        return name

    def alias(self, index: int) -> int:
        """A metric's alias."""
        return int(self._columns.alias[index])

    def by_name(self, device: str, name: str) -> int | None:
        """The metric of a device by its name."""
        return self._by_name.get((device, name))

    def by_alias(self, alias: int) -> int | None:
        """The metric by its alias."""
        return self._by_alias.get(alias)

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table."""
        self._use(table)

    def forget_left(self) -> None:
        """Nothing of old tables waits any more."""
        if self._left:
            self._use(self.table)

    def resolve(self, table: TagTable, used: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Metric index by tag index of a block's table, NOT_SENT where it stays here; right for the tags `used`."""
        if table is self.table and self._leaves[used].all():
            return np.arange(len(table), dtype=np.int64)
        known = self._maps.get(table.digest)
        if known is None or len(known) < len(table):
            known = self._maps[table.digest] = np.full(len(table), NOT_SENT - 1, np.int64)
        before = len(self.tags)
        for tag in used[known[used] < NOT_SENT].tolist():
            known[tag] = self._metric(table[tag])
        if len(self.tags) > before:
            self.grown = True
            self._index()
        return known

    def _metric(self, tag: Tag) -> int:
        if not selected(self._patterns, tag.full_name):
            return NOT_SENT
        kind = datatype(tag)
        live = self.table.find(tag.full_name)
        if live is not None and self.datatypes[live] is kind and self.sent[live]:
            return live
        key = (tag.device, tag.name, kind)
        if key not in self._left:
            self._left[key] = len(self.tags)
            self.tags.append(tag)
            self.datatypes.append(kind)
            self.sent.append(True)
        return self._left[key]
