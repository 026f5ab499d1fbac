"""A reload between any two configurations: what is the same in both misses no tick and keeps its grid.

Real sources and real sockets against PLCs in the same loop, in virtual time: an answer takes no time at all, so a poll
that is not exactly on its grid was moved by the reload.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from gateway.app.buses import Buses
from gateway.app.changes import changes
from gateway.config import Configuration, load_text
from gateway.field.contract import FieldContext, Loss
from gateway.readings import Quality, Readings, TagTable
from gateway.runtime.counters import Counters
from gateway.runtime.systemd import Notifier
from gateway.runtime.watchdog import Watchdog
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.virtual_time import VirtualClock, run_wired

LINES = ("north", "south")
DEVICES = tuple(f"{line}-{n}" for line in LINES for n in range(3))
BEFORE_S = 2.0  # until the reload, and a part of a second
AFTER_S = 2.0
CLOSE_S = 3.0
UPSTREAMS = {"plant": {"broker": "mqtt://127.0.0.1"}}

Device = tuple[int, int, int, int] | None  # unit, interval in ms, tags, deadband; None: not in this configuration


@dataclass(frozen=True)
class Plant:
    """One configuration: the response timeout of each line, and its devices."""

    timeouts: Mapping[str, int]
    devices: Mapping[str, Device]

    def configuration(self, ports: Mapping[str, int]) -> Configuration:
        connections: dict[str, Any] = {}
        for line in LINES:
            found = {name: each for name, each in self.devices.items() if each and name.startswith(line)}
            if found:
                connections[line] = {
                    "driver": "modbus-tcp",
                    "host": "127.0.0.1",
                    "port": ports[line],
                    "timeout": f"{self.timeouts[line]}ms",
                    "devices": {name: _device(*each) for name, each in found.items()},
                }
        root = {"gateway": {"name": "cell"}, "connections": connections, "upstreams": UPSTREAMS}
        return load_text(json.dumps(root), Path("gateway.yaml"))  # JSON is YAML


def _device(unit: int, every_ms: int, tags: int, band: int) -> dict[str, Any]:
    tag = {"type": "uint16", "steps": [{"deadband": {"absolute": band}}]}
    return {
        "unit": unit,
        "every": f"{every_ms}ms",
        "tags": {f"t{n}": {"address": f"holding:{2 + 40 * n}", **tag} for n in range(tags)},
    }


@dataclass
class Port:
    """When each device's readings came, by the loop's time; whatever else was said."""

    table: TagTable
    polls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bad: set[str] = field(default_factory=set)
    losses: list[Loss] = field(default_factory=list)

    def readings(self, readings: Readings) -> None:
        [device] = {self.table[tag].device for tag in readings.tag.tolist()}
        self.polls[device].append(asyncio.get_running_loop().time())
        if (readings.quality != Quality.GOOD).any():
            self.bad.add(device)

    def loss(self, loss: Loss) -> None:
        self.losses.append(loss)

    def link(self, device: str, online: bool, reason: str) -> None:
        if not online:
            self.bad.add(device)


async def reload_once(old: Plant, new: Plant, at_s: float) -> tuple[Port, float]:
    """Run the old plant, change to the new one after `at_s`; what the port saw, and when it ended."""
    async with CountingPlc() as north, CountingPlc() as south:
        ports = {"north": north.port, "south": south.port}
        before, after = old.configuration(ports), new.configuration(ports)
        port, loop = Port(before.table), asyncio.get_running_loop()
        async with asyncio.TaskGroup() as house:
            context = FieldContext(port, VirtualClock(), Counters(), None)
            buses = Buses(house, context, Watchdog(Notifier(None, None), loop.time))
            for bus in before.buses.values():
                buses.start(bus, before.table)
            await asyncio.sleep(at_s)
            found = changes(before, after)
            await buses.stop(found.buses_stopped, CLOSE_S)
            port.table = before.table.grown([plan.tag for plan in after.tags])
            for name in found.buses_replanned:
                buses.replan(after.buses[name], port.table)
            for name in found.buses_started:
                buses.start(after.buses[name], port.table)
            await asyncio.sleep(AFTER_S)
            end = loop.time()
            await buses.stop(buses.names, CLOSE_S)
        return port, end


device = st.tuples(st.integers(1, 3), st.sampled_from([100, 130, 250, 370]), st.integers(1, 3), st.integers(1, 2))


def _like(old: Device) -> st.SearchStrategy[Device]:
    """The same interval, everything else may differ."""
    return device.map(lambda new: new if old is None else (new[0], old[1], *new[2:]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Plant, Plant]:
    """Two plants that have something in common: each device stays, goes, comes or changes."""
    old: dict[str, Device] = {}
    new: dict[str, Device] = {}
    for name in DEVICES:
        old[name] = draw(st.none() | device)
        new[name] = old[name] if draw(st.integers(0, 3)) else draw(st.none() | device | _like(old[name]))
    old[DEVICES[0]] = old[DEVICES[0]] or (1, 100, 1, 1)  # a configuration has at least one device
    new[DEVICES[0]] = new[DEVICES[0]] or old[DEVICES[0]]
    timeouts = dict.fromkeys(LINES, 500)
    changed = {line: draw(st.sampled_from([500, 500, 500, 700])) for line in LINES}
    return Plant(timeouts, old), Plant(changed, new)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs(), st.integers(1, 999))
def test_what_is_the_same_in_both_misses_no_tick_and_keeps_its_grid(pair: tuple[Plant, Plant], part_ms: int) -> None:
    old, new = pair
    at_s = BEFORE_S + part_ms / 1000
    port, end = run_wired(reload_once(old, new, at_s))
    same = [
        name
        for name, each in old.devices.items()
        if each and _asked(new.devices[name]) == _asked(each) and _same_link(old, new, name)
    ]
    event(f"{len(same)} devices are the same")
    for name in same:
        each = old.devices[name]
        assert each is not None
        period, polls = each[1] / 1000, port.polls[name]
        assert name not in port.bad
        assert polls[0] <= 1.5 * period
        assert end - polls[-1] <= 1.01 * period
        moved = [(at, k) for k, at in enumerate(polls) if abs(at - polls[0] - k * period) > 0.01 * period]
        assert not moved, f"{name} every {period} s, reload at {at_s}: {moved[:3]}"
    for name in {name for name, each in old.devices.items() if each} - set(same):
        before, after = old.devices[name], new.devices[name]
        if before and after and before[1] == after[1] and _same_link(old, new, name):
            _check_grid(name, port, before[1] / 1000, end)
    kept = {tag for loss in port.losses for tag in loss.tags.tolist() if port.table[tag].device in same}
    assert not kept


def _check_grid(name: str, port: Port, period: float, end: float) -> None:
    """A device whose tags changed, but not its interval: one slot may be lost, and then it is told."""
    polls = port.polls[name]
    slots = [round((at - polls[0]) / period) for at in polls]
    assert all(abs(at - polls[0] - slot * period) <= 0.01 * period for at, slot in zip(polls, slots, strict=True))
    lost = sum(loss.count // len(loss.tags) for loss in port.losses if port.table[loss.tags[0]].device == name)
    assert slots[-1] + 1 - len(slots) == lost <= 1
    assert end - polls[-1] <= 1.01 * period


def _asked(device: Device) -> tuple[int, ...] | None:
    """What the device is asked for: steps are no matter of the field."""
    return device and device[:3]


def _same_link(old: Plant, new: Plant, name: str) -> bool:
    return old.timeouts[_line(name)] == new.timeouts[_line(name)]


def _line(name: str) -> str:
    return name.rpartition("-")[0]
