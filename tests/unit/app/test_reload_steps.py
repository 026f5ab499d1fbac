"""What a reload does to the steps of tags that it doesn't touch: nothing, whatever else changes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app.flow import Flow
from gateway.config import Configuration, load_text
from gateway.readings import Readings, TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.spool.spool import Spool
from tests.unit.app.test_flow import FakeSpool

START_NS = 1_700_000_000_000_000_000
CHAINS = [
    "[]",
    "[{deadband: {absolute: 1}}]",
    "[{swinging-door: {deviation: 0.5}}]",
    "[{spike: {window: 5}}, {on-change: {}}]",
    "[{smooth: {time_constant: 2s}}, {aggregate: {every: 5s, compute: [mean, count]}}, {deadband: {absolute: 0.2}}]",
    "[{counter: {bits: 16}}, {rate: {}}]",
]
NAMES = ("a", "b", "c", "d")
Tags = dict[str, int]  # chain by tag
TAGS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, len(CHAINS) - 1), min_size=1)


def configuration(tags: Tags) -> Configuration:
    lines = [
        f"        {name}: {{address: holding:{NAMES.index(name)}, type: float32, steps: {CHAINS[chain]}}}"
        for name, chain in tags.items()
    ]
    head = [
        "gateway: {name: cell}",
        "profiles: {door: [{swinging-door: {deviation: 0.1}}]}",
        'upstreams: {plant: {broker: "mqtt://127.0.0.1"}}',
        "connections:",
        "  plc:",
        "    driver: modbus-tcp",
        "    host: 127.0.0.1",
        "    devices:",
        "     press:",
        "      tags:",
    ]
    derived = [f'    {name}2: {{expression: "press.{name} * 2", profile: door}}' for name in tags]
    return load_text("\n".join([*head, *lines, "derived:", "  tags:", *derived]), Path("gateway.yaml"))


class Run:
    """A flow fed with the same readings as any other, but for the reloads in between."""

    def __init__(self, tags: Tags) -> None:
        self.configuration = configuration(tags)
        self.table: TagTable = self.configuration.table
        self.spool = FakeSpool()
        self.flow = Flow(
            self.configuration,
            cast("Spool", self.spool),
            Clock(lambda: START_NS, lambda: 0, lambda: 0, lambda: True, "boot"),
            Counters(),
            Latest(self.table),
            lambda *_: None,
        )
        self.rows: dict[str, list[tuple[int, float, int]]] = {}

    def poll(self, second: int, tags: Tags) -> None:
        values = np.random.default_rng(second).normal(10, 2, len(NAMES))
        chosen = [name for name in NAMES if name in tags]
        self.flow.readings(
            Readings(
                np.array([self.table.index(f"press.{name}") for name in chosen], np.uint32),
                np.full(len(chosen), START_NS + second * 1_000_000_000, np.int64),
                np.array([values[NAMES.index(name)] for name in chosen]),
                np.zeros(len(chosen), np.uint8),
            )
        )

    def reload(self, tags: Tags) -> None:
        new = configuration(tags)
        table = self.table.grown([plan.tag for plan in new.tags])
        self.flow.reconfigure(self.flow.prepared(new, table))
        self.table = table

    def end(self) -> dict[str, list[tuple[int, float, int]]]:
        """What left, by full name."""
        self.flow.flush()
        rows = Readings.join(self.spool.appended)
        found: dict[str, list[tuple[int, float, int]]] = {}
        for tag, time_ns, value, quality in zip(rows.tag, rows.time_ns, rows.value, rows.quality, strict=True):
            found.setdefault(self.table[int(tag)].full_name, []).append((int(time_ns), float(value), int(quality)))
        return {name: sorted(each) for name, each in found.items()}


@settings(deadline=None, max_examples=40)
@given(TAGS, st.lists(st.tuples(st.integers(1, 9), TAGS), min_size=1, max_size=3))
def test_untouched_tags_never_notice_a_reload(first: Tags, reloads: list[tuple[int, Tags]]) -> None:
    untouched = {name for name, chain in first.items() if all(tags.get(name) == chain for _, tags in reloads)}
    straight, reloaded = Run(first), Run(first)
    second, tags = 0, first
    for length, following in [*reloads, (10, {})]:
        for _ in range(length):
            straight.poll(second, first)
            reloaded.poll(second, tags)
            second += 1
        if following:
            tags = following
            reloaded.reload(tags)
    wanted, found = straight.end(), reloaded.end()
    kept = [name for name in wanted if name.split(".")[1].rstrip("2") in untouched]
    assert {name: found[name] for name in kept} == {name: wanted[name] for name in kept}
