"""What a device refuses, garbles or never answers, and what is learned of it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gateway.readings import Quality
from tests.fakes.modbus import SILENCE, Memory, Say
from tests.fakes.modbus_rig import Rig, holding, one


async def test_a_request_that_is_never_answered_costs_only_itself(rig: Rig) -> None:
    """Some devices keep silent about addresses they don't have."""
    rig.timeout = "50ms"
    rig.device.behave = lambda _unit, pdu: SILENCE if pdu[2] in {50, 90} else None
    async with rig.running(one(5, 50, 70, 90), 0.1):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 20)
        rig.device.seen.clear()
        await rig.port.wait(lambda: len(rig.device.seen) >= 10)
    assert {seen.pdu[2] for seen in rig.device.seen} == {5, 70}  # left out by now
    for name in ("plc.r5", "plc.r70"):
        assert sum(row.quality != Quality.GOOD for row in rig.port.of(name)) <= 3
    assert rig.port.qualities("plc.r50") == rig.port.qualities("plc.r90") == {Quality.BAD_TIMEOUT}
    assert rig.port.links[-1] == ("plc", True, "")


async def test_one_lost_answer_is_asked_for_again_in_the_same_cycle(rig: Rig) -> None:
    rig.device.script.append(SILENCE)
    async with rig.running(one(), 1.0):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 1)
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}
    assert rig.context.counters.device("plc").errors["timeout"] == 1


async def test_a_block_that_is_always_garbled_costs_only_itself(rig: Rig) -> None:
    rig.timeout = "50ms"
    rig.device.behave = lambda _unit, pdu: [Say(b"\3\4\0\0\0\0")] if pdu[2] == 90 else None
    async with rig.running(one(5, 90), 0.1):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 15)
        rig.device.seen.clear()
        await rig.port.wait(lambda: len(rig.device.seen) >= 5)
    assert {seen.pdu[2] for seen in rig.device.seen} == {5}  # left out by now
    assert rig.port.qualities("plc.r90") == {Quality.BAD_DECODE}
    assert sum(row.quality != Quality.GOOD for row in rig.port.of("plc.r5")) <= 2
    assert rig.port.links[-1] == ("plc", True, "")


async def test_a_hole_costs_only_itself(rig: Rig) -> None:
    del rig.device.units[1].holding[7]
    async with rig.running(one(4, 5, 6, 7, 8, 9)):
        await rig.port.wait(lambda: len(rig.port.values("plc.r9")) >= 4)
        rig.device.seen.clear()
        await rig.port.wait(lambda: len(rig.device.seen) >= 8)
    assert rig.port.qualities("plc.r7") == {Quality.BAD_EXCEPTION}
    for number in (4, 5, 6, 8, 9):
        assert rig.port.qualities(f"plc.r{number}") == {Quality.GOOD}
        assert set(rig.port.values(f"plc.r{number}")) == {1000 + number}
    # Learned: the good ones come with two requests, the hole isn't asked for again.
    assert {seen.pdu for seen in rig.device.seen} == {struct.pack(">BHH", 3, 4, 3), struct.pack(">BHH", 3, 8, 2)}


async def test_a_hole_within_max_gap_is_learned(rig: Rig) -> None:
    del rig.device.units[1].holding[7]
    async with rig.running(one(5, 6, 8, 9, max_gap=5)):
        await rig.port.wait(lambda: len(rig.port.values("plc.r9")) >= 4)
    for number in (5, 6, 8, 9):
        assert rig.port.qualities(f"plc.r{number}") == {Quality.GOOD}


async def test_what_is_refused_is_remembered_over_a_restart(rig: Rig, tmp_path: Path) -> None:
    del rig.device.units[1].holding[7]
    async with rig.running(one(6, 7, 8), state=tmp_path / "state"):
        await rig.port.wait(lambda: len(rig.port.of("plc.r7")) >= 2)
    rig.device.seen.clear()
    async with rig.running(one(6, 7, 8), state=tmp_path / "state"):
        await rig.port.wait(lambda: len(rig.port.of("plc.r7")) >= 2)
    asked = {seen.pdu for seen in rig.device.seen}
    assert asked == {struct.pack(">BHH", 3, 6, 1), struct.pack(">BHH", 3, 8, 1)}


async def test_a_reload_tries_refused_tags_again(rig: Rig) -> None:
    del rig.device.units[1].holding[7]
    async with rig.running(one(6, 7)):
        await rig.port.wait(lambda: len(rig.port.of("plc.r7")) >= 2)
        rig.device.units[1].holding[7] = 77
        rig.source.reconfigure(rig.plan)
        await rig.port.wait(lambda: 77 in rig.port.values("plc.r7"))


async def test_a_busy_device_is_asked_again_later_in_the_cycle(rig: Rig) -> None:
    rig.device.script.append([Say(b"\x83\6")])
    async with rig.running(one(), 1.0):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 1)
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}


async def test_a_failing_device_is_an_exception_not_a_timeout(rig: Rig) -> None:
    rig.device.behave = lambda _unit, _pdu: [Say(b"\x83\4")]
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 4)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_EXCEPTION}
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])


@pytest.mark.parametrize("code", [0x0A, 0x0B])
async def test_a_unit_dead_behind_a_gateway_leaves_the_others_alone(rig: Rig, code: int) -> None:
    rig.device.units[2] = Memory({5: 2005})
    rig.device.behave = lambda unit, _pdu: [Say(bytes((0x83, code)))] if unit == 1 else None
    devices = {"dead": {"unit": 1, "tags": holding(5)}, "live": {"unit": 2, "tags": holding(5)}}
    async with rig.running(devices):
        await rig.port.wait(lambda: len(rig.port.values("live.r5")) >= 10)
        assert rig.port.qualities("dead.r5") == {Quality.BAD_EXCEPTION}
        assert rig.port.qualities("live.r5") == {Quality.GOOD}


async def test_a_dead_unit_costs_the_others_little_and_returns(rig: Rig) -> None:
    rig.timeout = "100ms"
    rig.device.units |= {unit: Memory({5: 1000 * unit}) for unit in range(1, 9)}
    rig.device.behave = lambda unit, _pdu: SILENCE if unit == 3 else None
    devices = {f"m{unit}": {"unit": unit, "tags": holding(5)} for unit in range(1, 9)}
    async with rig.running(devices, 0.1):
        await rig.port.wait(lambda: len(rig.port.of("m1.r5")) >= 25, 40.0)
        for unit in (1, 2, 4, 5, 6, 7, 8):
            good, missed = len(rig.port.values(f"m{unit}.r5")), rig.context.counters.device(f"m{unit}").missed
            assert good >= 0.6 * (good + missed)  # the first timeouts weigh much in so short a time
            assert len(rig.port.of(f"m{unit}.r5")) - good <= 2
        assert rig.port.qualities("m3.r5") == {Quality.BAD_TIMEOUT}
        assert sum(seen.unit == 3 for seen in rig.device.seen) < 10
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("m3.r5") != [])
