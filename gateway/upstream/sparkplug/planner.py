"""Births and blocks -> the messages of the node, in the order they are published. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gateway.block import Block
from gateway.readings import BAD, Quality, Readings, TagTable
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug import birth
from gateway.upstream.sparkplug.birth import MS, NodeValue
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.data import bodies
from gateway.upstream.sparkplug.datatypes import Field
from gateway.upstream.sparkplug.links import Change, Links

BACKLOG, ONLINE, EVENT = 1, 2, 3  # places in NODE_METRICS
ENVELOPE = 24  # bytes of a payload's time and seq


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of one edge node."""

    group: str
    node: str

    def topic(self, kind: str, device: str = "") -> str:
        """`spBv1.0/<group>/<kind>/<node>[/<device>]`."""
        tail = f"/{device}" if device else ""
        return f"spBv1.0/{self.group}/{kind}/{self.node}{tail}"


@dataclass(frozen=True, slots=True)
class Step:
    """One message to come: its seq is set when it is handed over, its time too where it has none yet."""

    topic: str
    metrics: bytes
    readings: int = 0
    data: bool = True  # False: a birth or a death
    time_ms: int | None = None  # of births: when they were begun, which is before they arrive


@dataclass(slots=True)
class Planner:
    """What the host knows of our metrics, and the messages that follow from it."""

    names: Names
    catalog: Catalog
    latest: Latest
    version: str
    datatypes: bool
    links: Links = field(default_factory=Links)
    born_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    born_ns: int = 0  # when the newest births were planned: after now, the clock stepped back and they must be repeated
    node: dict[int, NodeValue] = field(default_factory=dict)  # the current values that change, by place
    node_born_ms: dict[int, int] = field(default_factory=dict)
    longest: int = birth.LONGEST_TEXT  # bytes of a text the broker takes; a longer one goes out as bad
    too_long: set[str] = field(default_factory=set)  # tags that had one, by full name

    def births(self, bdseq: int, now_ns: int) -> list[Step]:
        """NBIRTH and all DBIRTHs; from here on all metrics of the catalog are announced."""
        now_ms = now_ns // MS
        self.born_ms = np.full(len(self.catalog.tags), now_ms, np.int64)
        self.catalog.grown = False
        values = [NodeValue(self.version, now_ms)]
        values += [self.node.get(place, NodeValue(None, now_ms)) for place in (BACKLOG, ONLINE, EVENT)]
        self.node_born_ms = {place: min(value.time_ms, now_ms) for place, value in enumerate(values)}
        nbirth = birth.node_birth(bdseq, values, now_ms)
        steps = [Step(self.names.topic("NBIRTH"), nbirth, data=False, time_ms=now_ms)]
        steps += [replace(self._birth(device, now_ns), time_ms=now_ms) for device in self.catalog.devices]
        self.links.all_born(self.catalog.devices, now_ns)
        self.born_ns = now_ns
        return steps

    @property
    def devices_online(self) -> int:
        """How many of the announced devices have a link."""
        return sum(not self.links.is_down(device) for device in self.catalog.devices)

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table; births must follow before the next block."""
        self.catalog.use_table(table)
        self.catalog.grown = True

    def node_change(self, place: int, value: float | str, time_ms: int) -> Step:
        """NDATA with one metric of the node."""
        node = NodeValue(value, time_ms)
        historical = time_ms <= self.node_born_ms.get(place, 0)
        if not historical or self.node.get(place) is None:
            self.node[place] = node
        metrics = birth.node_data(place, node, historical=historical, datatypes=self.datatypes)
        return Step(self.names.topic("NDATA"), metrics)

    def readback(self, index: int, value: object, now_ns: int) -> Step | None:
        """DDATA with what stands in a device after a command, else the newest value; None while it can't be said."""
        if self.catalog.grown or index >= len(self.catalog.tags):
            return None  # births come first, and say it all
        device = self.catalog.tags[index].device
        if device not in self.links.born:
            return None
        if value is None and index < len(self.catalog.table):
            value = birth.current(self.latest, index, self.catalog.datatypes[index], self.longest)
        metrics = birth.readback(self.catalog, index, value, now_ns // MS, datatypes=self.datatypes)
        return Step(self.names.topic("DDATA", device), metrics)

    def changes(self, until_ns: int, now_ns: int) -> list[Step]:
        """The deaths and births of devices whose link changed until then, where no rows stand before them."""
        if self.catalog.grown:
            return []  # births come first, and say it all
        return [step for change in self.links.due(until_ns, now_ns) for step in self._change(change, now_ns)]

    def block(self, block: Block, limit: int, now_ns: int) -> list[Step] | None:
        """The messages of a block; None where births must announce its metrics first."""
        if block.events:
            return [self._event(event) for event in block.events]
        readings = block.readings
        metric_of = self.catalog.resolve(block.table, np.unique(readings.tag))
        if self.catalog.grown:
            return None
        metric = metric_of[readings.tag]
        if (metric < 0).any():
            readings, metric = readings.where(metric >= 0), metric[metric >= 0]
        readings = self._short(readings, metric)
        changes: dict[str, list[Change]] = {}
        for change in self.links.due(block.sealed_ns, now_ns):
            changes.setdefault(change.device, []).append(change)
        steps: list[Step] = []
        place = self.catalog.columns.device[metric]
        for number, device in enumerate(self.catalog.devices):
            rows = np.flatnonzero(place == number)
            for change in changes.pop(device, ()):
                before = readings.time_ns[rows] < change.since_ns
                steps += self._data(device, readings.where(rows[before]), metric[rows[before]], limit, now_ns)
                steps += self._change(change, now_ns)
                rows = rows[~before]
            steps += self._data(device, readings.where(rows), metric[rows], limit, now_ns)
        return steps

    def _birth(self, device: str, now_ns: int) -> Step:
        self.born_ns = max(self.born_ns, now_ns)
        down = self.links.is_down(device)
        metrics = birth.device_birth(
            self.catalog, self.latest, device, now_ns // MS, self.born_ms, down=down, longest=self.longest
        )
        return Step(self.names.topic("DBIRTH", device), metrics, data=False)

    def _short(self, readings: Readings, metric: NDArray[np.int64]) -> Readings:
        """The readings, with those bad whose text no packet can hold: they would end every connection."""
        long = [key for key, text in readings.texts.items() if len(text.encode(errors="replace")) > self.longest]
        if not long:
            return readings
        rows = np.isin(readings.value, np.array(long, np.float64)) & (
            self.catalog.columns.field[metric] == Field.STRING
        )
        self.too_long |= {self.catalog.tags[index].full_name for index in np.unique(metric[rows]).tolist()}
        return Readings(
            readings.tag,
            readings.time_ns,
            np.where(rows, np.nan, readings.value),
            np.where(rows, np.uint8(Quality.BAD_DECODE), readings.quality),
            readings.texts,
        )

    def _change(self, change: Change, now_ns: int) -> Iterator[Step]:
        device = change.device
        if change.online and device not in self.links.born and device in self.catalog.devices:
            self.links.born.add(device)
            yield self._birth(device, now_ns)
        elif not change.online and device in self.links.born:
            self.links.born.discard(device)
            yield Step(self.names.topic("DDEATH", device), b"", data=False)

    def _data(
        self, device: str, readings: Readings, metric: NDArray[np.int64], limit: int, now_ns: int
    ) -> Iterator[Step]:
        if not len(readings):
            return
        if device not in self.links.born:
            if ((readings.quality & BAD) != 0).all():
                return  # the death said so
            yield self._birth(device, now_ns)
            self.links.revived(device, now_ns)
        topic = self.names.topic("DDATA", device)
        room = max(limit - ENVELOPE - len(topic.encode()), 128)
        for metrics, count in bodies(readings, metric, self.born_ms, self.catalog, room, datatypes=self.datatypes):
            yield Step(topic, metrics, count)

    def _event(self, event: bytes) -> Step:
        return self.node_change(EVENT, event.decode(), int(json.loads(event)["time"]))
