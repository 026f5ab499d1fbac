"""Answers that are late, foreign, damaged or in pieces: none of them is ever a value."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.field.modbus.frames import rtu_frame
from gateway.readings import Quality
from tests.fakes.modbus import Raw, Say
from tests.fakes.modbus_rig import Rig, counting, holding, one


@pytest.mark.parametrize("latency", [0.09, 0.15])
async def test_a_late_answer_is_never_taken_for_the_next_one(rig: Rig, latency: float) -> None:
    """Each answer comes after the timeout: shifted values would show in other tags."""
    rig.timeout = "60ms"

    def slow(unit: int, pdu: bytes) -> list[Say]:
        return [Say(rig.device.units[unit].answer(pdu), delay=latency)]

    async with rig.running({"plc": {"unit": 1, "tags": holding(5, 90)}}, 0.1):
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 2)
        rig.device.behave = slow
        await rig.port.wait(lambda: rig.context.counters.device("plc").errors["late"] >= 2, 40.0)
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.links[-1] == ("plc", True, ""), 40.0)
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 6)
    assert set(rig.port.values("plc.r5")) == {1005}
    assert set(rig.port.values("plc.r90")) == {1090}
    if rig.kind != "rtu":
        assert rig.link.connections == 1  # type: ignore[union-attr]


GARBAGE = {
    "short": Say(b"\3\2\1\2"),
    "long": Say(b"\3\6\1\2\3\4\5\6"),
    "other function": Say(b"\4\4\1\2\3\4"),
    "write echo": Say(b"\6\0\5\0\2"),
    "unknown function": Say(b"\x55\4\1\2\3\4"),
    "broken": Say(b"\3\4\1\2\3\4", broken=True),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_garbage_is_never_a_value(rig: Rig, what: str) -> None:
    rig.timeout = "80ms"
    garbage = GARBAGE[what]
    rig.device.behave = lambda _unit, _pdu: [garbage]
    async with rig.running(one(5, 6)):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 4)
        assert rig.port.values("plc.r5") == []
        assert rig.port.qualities("plc.r5") <= {Quality.BAD_DECODE, Quality.BAD_TIMEOUT}
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
    assert set(rig.port.values("plc.r5")) == {1005}


@pytest.mark.parametrize("data", [b"\0", b"\xff\xff\xff", bytes(range(256)) * 3, b"\1\3\1\3\1\3"])
async def test_noise_alone_is_never_a_value_and_never_stalls(rig: Rig, data: bytes) -> None:
    rig.timeout = "80ms"
    rig.device.script.extend([[Raw(data)], [Raw(data)]])
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 3)
    assert set(rig.port.values("plc.r5")) == {1005}


async def test_an_answer_of_another_unit_is_not_ours(rig: Rig) -> None:
    rig.device.behave = lambda _unit, _pdu: [Say(b"\3\2\x12\x34", unit=7)]
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 2)
        assert rig.port.values("plc.r5") == []
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
    assert set(rig.port.values("plc.r5")) == {1005}


async def test_answers_come_in_any_pieces(rig: Rig) -> None:
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu), pieces=True)]
    async with rig.running(one(5, 6)):
        await rig.port.wait(lambda: len(rig.port.values("plc.r6")) >= 3)
    assert rig.port.qualities("plc.r6") == {Quality.GOOD}


@pytest.mark.parametrize("unit", [1, 3, 4, 10])
@pytest.mark.parametrize("noise", [b"\0", b"\xff", b"\x03"])
async def test_a_stray_byte_before_an_answer_costs_nothing(tmp_path: Path, unit: int, noise: bytes) -> None:
    rig = Rig("rtu", tmp_path, counting(unit))
    rig.device.behave = lambda who, pdu: [Say(rig.device.units[who].answer(pdu), before=noise)]
    async with rig.running({"plc": {"unit": unit, "tags": holding(5)}}):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 3)
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}


@pytest.mark.parametrize(
    "foreign", [Say(b"\3\2\x11\x11", unit=9), Say(b"\6\0\1\0\3", unit=0), Say(b"\x10\0\1\0\1\2\0\7", unit=0)]
)
async def test_a_foreign_frame_or_a_broadcast_before_an_answer_costs_nothing(tmp_path: Path, foreign: Say) -> None:
    rig = Rig("rtu", tmp_path)
    rig.device.behave = lambda unit, pdu: [
        foreign,
        Say(rig.device.units[unit].answer(pdu)),
    ]
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 3)
    assert set(rig.port.values("plc.r5")) == {1005}


@pytest.mark.parametrize("link", ["tcp", "pipelined"])
@pytest.mark.parametrize("lie", [Say(b"\3\2\x12\x34", transaction=0), Say(b"\3\2\x12\x34", transaction=0x7FF0)])
async def test_a_wrong_transaction_number_is_never_a_value(tmp_path: Path, link: str, lie: Say) -> None:
    rig = Rig(link, tmp_path)
    rig.device.behave = lambda _unit, _pdu: [lie]
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 2)
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
    assert set(rig.port.values("plc.r5")) == {1005}
    assert rig.link.connections > 1  # type: ignore[union-attr]  # a stream out of step is left behind


async def test_a_line_that_is_never_silent_stalls_nothing(tmp_path: Path) -> None:
    rig = Rig("rtu", tmp_path, timeout="100ms")

    async def babble() -> None:
        while True:
            rig.link._send(b"\x7e\x81")  # type: ignore[union-attr]
            await asyncio.sleep(0.0005)  # the babble itself: the line is never silent for longer

    async with rig.running(one(), 0.2):
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        noise = asyncio.create_task(babble())
        before = len(rig.port.rows)
        await rig.port.wait(lambda: len(rig.port.rows) >= before + 5)
        noise.cancel()
        heard = len(rig.port.values("plc.r5"))
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= heard + 2)
    assert set(rig.port.values("plc.r5")) == {1005}


@pytest.mark.parametrize("kind", ["rtu", "rtu-tcp"])
@pytest.mark.parametrize("patience", [2.5, 6.5])
async def test_an_answer_that_is_several_timeouts_late_belongs_to_no_later_request(
    tmp_path: Path, kind: str, patience: float
) -> None:
    """The device answers all it was asked, one after the other; each register holds when it was asked for."""
    rig = Rig(kind, tmp_path, timeout="60ms")
    asked, busy_until = 0, 0.0

    def slow(unit: int, pdu: bytes) -> list[Say]:
        nonlocal asked, busy_until
        asked += 1
        memory, now = rig.device.units[unit], asyncio.get_running_loop().time()
        for number in (5, 90):
            memory.holding[number] = number * 600 + asked
        busy_until = max(now, busy_until) + (0.06 * patience if asked in {4, 13} else 0.002)
        return [Say(memory.answer(pdu), delay=busy_until - now)]

    rig.device.behave = slow
    async with rig.running(one(5, 90), 0.1):
        await rig.port.wait(lambda: asked > 20 and len(rig.port.values("plc.r5")) >= 10, 40.0)
    for number in (5, 90):
        values = [value for value in rig.port.values(f"plc.r{number}") if isinstance(value, float)]
        assert {int(value) // 600 for value in values} == {number}, "another register's value"
        assert values == sorted(set(values)), "a value of before"


@pytest.mark.parametrize("kind", ["rtu", "rtu-tcp"])
@pytest.mark.parametrize("single", [False, True])
async def test_an_adapter_that_echoes_reads_and_writes(tmp_path: Path, kind: str, single: bool) -> None:
    """RS-485 adapters with their receiver always on; the device answers some time after the echo."""
    rig = Rig(kind, tmp_path, timeout="1s")
    rig.device.behave = lambda unit, pdu: [
        Raw(rtu_frame(unit, pdu)[:5]),
        Raw(rtu_frame(unit, pdu)[5:], delay=0.005),
        Say(rig.device.units[unit].answer(pdu), delay=0.03),
    ]
    tags = {
        "word": {"address": "holding:5", "type": "uint16", "write": {}},
        "wide": {"address": "holding:258", "type": "uint32", "write": {}},  # 0x0102: looks like a byte count
        "coil": {"address": "coil:3", "write": {}},
        "bit": {"address": "holding:7.3", "type": "bool", "write": {}},
    }
    async with rig.running({"plc": {"unit": 1, "tags": tags, "write_single": single}}, 0.3):
        await rig.port.wait(lambda: rig.port.values("plc.word") != [])
        assert await rig.source.write(0, 7) == 7
        assert await rig.source.write(1, 70_000) == 70_000
        assert await rig.source.write(2, 1) == 1
        assert await rig.source.write(3, 0) == 0
        await rig.port.wait(lambda: rig.port.values("plc.wide")[-1] == 70_000)
    assert {row.quality for row in rig.port.rows} == {Quality.GOOD}


@pytest.mark.parametrize("kind", ["tcp", "pipelined"])
async def test_a_late_answer_does_not_bend_the_time_of_the_next_one(tmp_path: Path, kind: str) -> None:
    rig = Rig(kind, tmp_path, timeout="1s")
    rig.device.script.append([Say(b"\3\2\0\1", delay=1.05)])
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu), delay=0.6)]
    async with rig.running(one(), 10.0):
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
    (row,) = rig.port.of("plc.r5")
    asked_ns = rig.context.clock.utc_of(rig.device.seen[-1].at)
    assert 0.2e9 < row.time_ns - asked_ns < 0.5e9, "the middle is 300 ms after the request"
    assert rig.context.counters.device("plc").errors["late"] == 1
