"""Polls on their grid, the time on the line, reloads, the trace."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

from gateway.readings import Quality
from tests.fakes.modbus import Memory, Say
from tests.fakes.modbus_rig import Rig, holding, one


async def test_values_arrive_on_the_grid(rig: Rig) -> None:
    async with rig.running(one(5, 6, 90), 0.05):
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 5)
    assert set(rig.port.values("plc.r5")) == {1005}
    assert set(rig.port.values("plc.r90")) == {1090}
    assert rig.port.links == [("plc", True, "")]
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}
    # 5 and 6 come with one request, 90 with its own: the hole isn't read over.
    assert {seen.pdu for seen in rig.device.seen} == {struct.pack(">BHH", 3, 5, 2), struct.pack(">BHH", 3, 90, 1)}


async def test_answers_slower_than_the_period_never_overlap(rig: Rig) -> None:
    rig.timeout = "2s"
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu), delay=0.06)]
    async with rig.running(one(), 0.02):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 5)
    counters = rig.context.counters.device("plc")
    assert counters.missed >= 5
    assert sum(loss.count for loss in rig.port.losses) == counters.missed
    assert {loss.reason for loss in rig.port.losses} == {"missed_tick"}
    times = [row.time_ns for row in rig.port.of("plc.r5")]
    assert times == sorted(set(times))
    gaps = [later.at - earlier.at for earlier, later in pairwise(rig.device.seen)]
    assert min(gaps) >= 0.055  # the next request waits for the answer


async def test_a_pause_is_kept_before_each_request(rig: Rig) -> None:
    extra = {"max_in_flight": 1} if rig.kind == "pipelined" else {}
    async with rig.running(one(5, 50, pause="40ms", **extra), 0.2):
        await rig.port.wait(lambda: len(rig.port.values("plc.r50")) >= 4)
    gaps = [later.at - earlier.at for earlier, later in pairwise(rig.device.seen)]
    assert min(gaps) >= 0.039


async def test_a_slow_line_gets_the_time_its_characters_take(tmp_path: Path) -> None:
    rig = Rig("rtu", tmp_path, timeout="100ms", baudrate=1200)
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu), delay=0.7)]
    tags = {"a": {"address": "holding:0", "type": "uint16", "count": 60}}  # 1.1 s on the line
    async with rig.running({"plc": {"unit": 1, "tags": tags}}, 3.0):
        await rig.port.wait(lambda: len(rig.port.of("plc.a.59")) >= 1)
    assert rig.port.qualities("plc.a.59") == {Quality.GOOD}
    # The sample was taken between the request's end and the answer's begin, not in the middle of the exchange.
    row = rig.port.of("plc.a.0")[0]
    asked_ns = rig.context.clock.utc_of(rig.device.seen[0].at)
    assert 0.3e9 < row.time_ns - asked_ns < 0.6e9


async def test_a_trace_shows_each_frame(rig: Rig) -> None:
    lines: list[str] = []
    async with rig.running(one()):
        rig.source.trace("plc", lines.append)
        await rig.port.wait(lambda: len(lines) >= 4)
        rig.source.trace("plc", None)
    assert any(line.startswith("sent ") and "03 00 05 00 01" in line for line in lines)
    assert any(line.startswith("got ") and "03 02 03 ed" in line for line in lines)


async def test_a_reload_keeps_the_grid_of_what_did_not_change(rig: Rig) -> None:
    rig.device.units[2] = Memory({5: 2005, 6: 2006})
    first = {"plc": {"unit": 1, "tags": holding(5)}, "other": {"unit": 2, "tags": holding(5)}}
    async with rig.running(first, 0.1):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 3)
        second = {"plc": {"unit": 1, "tags": holding(5)}, "other": {"unit": 2, "tags": holding(6)}}
        plan = rig.planned(second, 0.1)
        table = rig.plan.table.grown(plan.table)
        rig.port.table = table
        rig.source.reconfigure(type(plan)(plan.name, plan.connection, plan.every, table))
        await rig.port.wait(lambda: len(rig.port.values("other.r6")) >= 3)
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 10)
    assert rig.context.counters.device("plc").missed == 0
    assert set(rig.port.values("other.r6")) == {2006}


async def test_a_reload_may_change_how_many_requests_are_in_flight(tmp_path: Path) -> None:
    rig = Rig("tcp", tmp_path)
    async with rig.running(one(5, 50), 0.05):
        await rig.port.wait(lambda: rig.port.values("plc.r50") != [])
        rig.source.reconfigure(rig.planned(one(5, 50, max_in_flight=4), 0.05))
        known = len(rig.port.values("plc.r50"))
        await rig.port.wait(lambda: len(rig.port.values("plc.r50")) >= known + 5)
    assert rig.link.connections == 1  # type: ignore[union-attr]
    assert rig.port.qualities("plc.r50") == {Quality.GOOD}
