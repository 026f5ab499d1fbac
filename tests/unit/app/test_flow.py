from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from gateway.app.flow import Flow
from gateway.block import ClockStamp
from gateway.config import load_text
from gateway.field.contract import Loss
from gateway.readings import Quality, Readings, TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.spool.spool import Spool

TEXT = """
gateway: {name: cell}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    devices:
      press:
        unit: 1
        tags:
          raw: {address: holding:0, type: int16}
          curve: {address: holding:1, type: int16, alarm: {high: 80}, steps: [{swinging-door: {deviation: 1}}]}
          scored: {address: holding:2, type: int16, steps: [{anomaly: {}}]}
derived: {tags: {double: {expression: "press.raw * 2"}}}
upstreams: {plant: {broker: "mqtt://127.0.0.1"}}
"""


@dataclass
class FakeSpool:
    appended: list[Readings] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    losses: list[tuple[Any, ...]] = field(default_factory=list)
    changes: int = 0

    def append(self, readings: Readings, stamp: ClockStamp | None = None) -> None:
        self.appended.append(readings)

    def event(self, kind: str, time_ns: int, fields: Mapping[str, object]) -> None:
        self.events.append((kind, fields))

    def lost(self, *loss: object) -> None:
        self.losses.append(loss)

    def clock_changed(self, change: object) -> None:
        self.changes += 1

    def use_table(self, table: TagTable) -> None:
        pass


class Rig:
    def __init__(self, *, synchronised: bool = True) -> None:
        self.synchronised = synchronised
        self.wall_ns = 1_700_000_000_000_000_000
        self.configuration = load_text(TEXT, Path("gateway.yaml"))
        self.table = self.configuration.table
        self.spool = FakeSpool()
        self.counters = Counters()
        self.latest = Latest(self.table)
        self.links: list[tuple[str, bool, str, int]] = []
        self.clock = Clock(lambda: self.wall_ns, lambda: 0, lambda: 0, lambda: self.synchronised, "boot")
        self.flow = Flow(
            self.configuration,
            cast("Spool", self.spool),
            self.clock,
            self.counters,
            self.latest,
            lambda *link: self.links.append(link),
        )

    def poll(self, seconds: float, **values: float) -> None:
        tags = np.array([self.table.index(f"press.{name}") for name in values], np.uint32)
        time_ns = np.full(len(values), self.wall_ns + int(seconds * 1e9), np.int64)
        value = np.array(list(values.values()), np.float64)
        quality = np.where(np.isnan(value), np.uint8(Quality.BAD_TIMEOUT), np.uint8(0))
        self.flow.readings(Readings(tags, time_ns, value, quality))

    def kept(self, name: str) -> list[tuple[float, int]]:
        tag = self.table.index(name)
        rows = Readings.join(self.spool.appended)
        return [(v, q) for t, v, q in zip(rows.tag, rows.value, rows.quality, strict=True) if t == tag]


def test_a_poll_reaches_the_spool_with_what_derives_from_it() -> None:
    rig = Rig()
    rig.poll(0, raw=5, curve=1, scored=3)
    assert rig.kept("press.raw") == [(5.0, 0)]
    assert rig.kept("derived.double") == [(10.0, 0)]
    assert rig.kept("press.scored.anomaly")
    assert (rig.counters.polled, rig.counters.kept) == (3, 5)
    assert rig.latest.value[rig.table.index("derived.double")] == 10


def test_latest_sees_what_the_steps_drop() -> None:
    rig = Rig()
    for second in range(5):
        rig.poll(second, curve=10)
    assert len(rig.kept("press.curve")) == 1
    assert rig.latest.time_ns[rig.table.index("press.curve")] == rig.wall_ns + 4_000_000_000


def test_an_alarm_is_seen_before_a_step_that_drops() -> None:
    rig = Rig()
    for second in range(10):
        rig.poll(second, curve=90)
    assert [(kind, fields["change"]) for kind, fields in rig.spool.events] == [("alarm", "raised")]


def test_readings_of_an_unsynchronised_clock_are_marked_and_bad_ones_stay_bad() -> None:
    rig = Rig(synchronised=False)
    rig.poll(0, raw=5)
    rig.poll(1, raw=float("nan"))
    assert [quality for _, quality in rig.kept("press.raw")] == [Quality.UNCERTAIN_CLOCK, Quality.BAD_TIMEOUT]


def test_a_change_of_the_clock_sends_what_waits_and_tells() -> None:
    rig = Rig()
    for second in range(5):
        rig.poll(second, curve=second * 0.1)
    before = len(rig.kept("press.curve"))
    rig.wall_ns += 3_600_000_000_000
    change = rig.clock.check()
    assert change is not None
    rig.flow.clock_changed(change)
    assert len(rig.kept("press.curve")) == before + 1
    assert rig.spool.changes == 1
    assert rig.spool.events[-1] == ("clock_step", {"step": 3_600_000, "synchronised": True})


def test_losses_are_told_by_full_name() -> None:
    rig = Rig()
    rig.flow.loss(Loss("missed_tick", np.array([0, 1], np.uint32), 1, 2, 8))
    assert rig.spool.losses == [("missed_tick", ["press.raw", "press.curve"], 1, 2, 8)]


def test_a_link_is_counted_and_told() -> None:
    rig = Rig()
    rig.flow.link("press", online=False, reason="timeout")
    assert (rig.counters.device("press").up, rig.counters.device("press").reason) == (False, "timeout")
    assert rig.links == [("press", False, "timeout", rig.clock.now_ns())]


def test_a_reload_keeps_the_state_of_what_did_not_change() -> None:
    rig = Rig()
    for second in range(5):
        rig.poll(second, curve=10, raw=1)
    new = load_text(
        TEXT.replace("raw: {address: holding:0, type: int16}", "raw: {address: holding:0, type: uint16}"), Path("g")
    )
    table = rig.table.grown([plan.tag for plan in new.tags])
    rig.flow.reconfigure(rig.flow.prepared(new, table))
    assert table.index("press.curve") == rig.table.index("press.curve")
    assert table.index("press.raw") == len(rig.table)
    rig.poll(5, curve=10)
    assert len(rig.kept("press.curve")) == 1  # still within the door that opened before the reload


def test_what_the_steps_achieved_is_told_by_tag() -> None:
    rig = Rig()
    for second in range(20):
        rig.poll(second, curve=10 + second % 2 * 0.5)
    [row] = rig.flow.achieved()
    assert (row["tag"], row["bound"]) == ("press.curve", 1.0)
    assert row["ratio"] == 1 / 20
