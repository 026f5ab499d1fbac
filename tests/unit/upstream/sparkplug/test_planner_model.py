"""Whatever blocks, links and reloads come in whatever order: a host can follow, and no good reading is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.block import Block, BlockId
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.planner import Names, Planner, Step
from gateway.upstream.sparkplug.proto import decode
from tests.fakes.upstream.delivery import STAMP

MS = 1_000_000
START_MS = 1_732_258_800_000
DEVICES = ("a", "b")
OLDER = TagTable([Tag("gone", "z"), Tag("b", "x", "int16"), Tag("a", "x")])


class Follower:
    """A host: births, aliases, history; what it heard by name and time."""

    def __init__(self) -> None:
        self.alive: dict[str, dict[int, tuple[str, int]]] = {}  # device -> alias -> (name, ms of the birth)
        self.heard: list[tuple[str, str, int]] = []

    def take(self, step: Step) -> None:
        _, _, kind, _, *rest = step.topic.split("/")
        device = rest[0] if rest else ""
        metrics = list(decode(step.metrics).metrics)
        if kind == "NBIRTH":
            self.alive.clear()
        if kind == "DDEATH":
            del self.alive[device]
        elif kind.endswith("BIRTH"):
            assert device not in self.alive, f"{device} is born twice"
            taken = {alias for known in self.alive.values() for alias in known}
            self.alive[device] = {m.alias: (m.name, m.timestamp) for m in metrics if m.HasField("alias")}
            assert not taken & set(self.alive[device])
        elif kind == "DDATA":
            self._data(device, metrics)

    def _data(self, device: str, metrics: list[Any]) -> None:
        known = self.alive[device]
        assert metrics
        assert len({metric.is_historical for metric in metrics}) == 1
        for metric in metrics:
            name, born_ms = known[metric.alias]
            assert metric.is_historical == (metric.timestamp <= born_ms)
            if not metric.is_null:
                self.heard.append((device, name.partition("/as ")[0], metric.timestamp))


class Rig:
    def __init__(self, devices: int) -> None:
        self.now_ms = START_MS
        self.devices = DEVICES[:devices]
        self.table = TagTable(Tag(device, "x") for device in self.devices)
        self.latest = Latest(self.table)
        self.planner = Planner(Names("g", "n"), Catalog(self.table, None), self.latest, "1.0", datatypes=False)
        self.host = Follower()
        self.expected: list[tuple[str, str, int]] = []
        self.births()

    def births(self) -> None:
        self._take(self.planner.births(0, self.now_ms * MS))

    def reconnect(self) -> None:
        self.planner.links.forget()
        self.births()

    def block(self, older: bool, bad: list[bool], age_ms: int) -> None:
        table = OLDER if older else self.table
        rows = len(table)
        bad_rows = np.resize(np.array(bad), rows)
        times = self.now_ms - age_ms + np.arange(rows)
        readings = Readings(
            np.arange(rows, dtype=np.uint32),
            times * MS,
            np.where(bad_rows, np.nan, 1.0),
            np.where(bad_rows, np.uint8(Quality.BAD_TIMEOUT), np.uint8(Quality.GOOD)),
        )
        if not older:
            self.latest.update(readings)
        for tag, time_ms, is_bad in zip(table, times.tolist(), bad_rows.tolist(), strict=True):
            if not is_bad:
                self.expected.append((tag.device, tag.name, time_ms))
        one = Block(BlockId("aaaaaa", 1), table, readings, (), STAMP, (self.now_ms - age_ms + rows) * MS)
        steps = self.planner.block(one, 300, self.now_ms * MS)
        if steps is None:
            self.births()
            steps = self.planner.block(one, 300, self.now_ms * MS)
        assert steps is not None
        self._take(steps)

    def flip(self, device: str) -> None:
        online = self.planner.links.is_down(device)
        self.planner.links.changed(device, self.now_ms * MS, online=online, since_ns=(self.now_ms - 3) * MS)

    def settle(self) -> None:
        self._take(self.planner.changes((self.now_ms - 10) * MS, self.now_ms * MS))

    def reload(self) -> None:
        self.table = self.table.grown([*self.table, Tag("a", f"more{len(self.table)}")])
        self.latest.use_table(self.table)
        self.planner.use_table(self.table)
        self.births()

    def _take(self, steps: list[Step]) -> None:
        for step in steps:
            self.host.take(step)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("block"), st.booleans(), st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 40)),
        st.tuples(st.just("flip"), st.sampled_from(DEVICES)),
        st.tuples(st.just("settle")),
        st.tuples(st.sampled_from(["births", "reconnect", "reload"])),
    ),
    min_size=8,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, len(DEVICES)), OPERATIONS)
def test_a_host_can_follow_and_misses_no_good_reading(devices: int, operations: list[tuple[Any, ...]]) -> None:
    rig = Rig(devices)
    for name, *arguments in operations:
        rig.now_ms += 12
        getattr(rig, name)(*arguments)
    assert sorted(rig.host.heard) == sorted(rig.expected)
    rig.now_ms += 100
    rig.settle()
    down = {device for device in DEVICES if rig.planner.links.is_down(device)}
    assert down.isdisjoint(rig.host.alive)
    assert set(rig.devices) - down <= set(rig.host.alive)
