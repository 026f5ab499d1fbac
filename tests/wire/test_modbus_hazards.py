"""Every way a Modbus device is known to misbehave, over each of the links."""

from __future__ import annotations

import asyncio
import struct
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.errors import WriteError
from gateway.readings import Quality
from tests.fakes.modbus import SILENCE, HangUp, Memory, Raw, Say
from tests.fakes.modbus_rig import LINKS, Rig, counting, holding


@pytest.fixture(params=LINKS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return Rig(request.param, tmp_path)


def one(*numbers: int, **keys: object) -> dict[str, object]:
    """One device, unit 1."""
    return {"plc": {"unit": 1, "tags": holding(*(numbers or (5,))), **keys}}


async def test_values_arrive_on_the_grid(rig: Rig) -> None:
    async with rig.running(one(5, 6, 90), 0.05):
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 5)
    assert set(rig.port.values("plc.r5")) == {1005}
    assert set(rig.port.values("plc.r90")) == {1090}
    assert rig.port.links == [("plc", True, "")]
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}
    # 5 and 6 come with one request, 90 with its own: the hole isn't read over.
    assert {seen.pdu for seen in rig.device.seen} == {struct.pack(">BHH", 3, 5, 2), struct.pack(">BHH", 3, 90, 1)}


@pytest.mark.parametrize("begun", [b"", b"\1\3\2"])
async def test_a_link_cut_in_a_request_or_an_answer_is_seen_at_once_and_comes_back(rig: Rig, begun: bytes) -> None:
    rig.timeout = "10s"
    rig.device.script.extend([[Say(b"\3\2\0\1")], [Raw(begun), HangUp(0.01)]])
    async with rig.running(one()):
        loop = asyncio.get_running_loop()
        await rig.port.wait(lambda: len(rig.device.seen) == 2)
        asked = loop.time()
        await rig.port.wait(lambda: Quality.BAD_LINK in rig.port.qualities("plc.r5"))
        assert loop.time() - asked < 5.0  # the timeout is twice as long
        assert ("plc", False, "link") in rig.port.links
        if rig.kind == "rtu":
            await rig.link.start()
        await rig.port.wait(lambda: 1005 in rig.port.values("plc.r5"))
        assert rig.port.links[-1] == ("plc", True, "")


async def test_while_the_link_is_down_every_tick_says_so(rig: Rig) -> None:
    async with rig.running(one(), plugged=False):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 6)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_LINK}
        assert rig.port.links == [("plc", False, "link")]
        await rig.link.start()
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        assert rig.port.links[-1] == ("plc", True, "")


async def test_silence_is_timeout_and_the_link_stays(rig: Rig) -> None:
    rig.timeout = "20ms"
    rig.device.behave = lambda _unit, _pdu: SILENCE
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 50)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_TIMEOUT}
        assert rig.port.links == [("plc", False, "timeout")]
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        assert not any(row.quality == Quality.BAD_LINK for row in rig.port.rows)
        assert rig.port.links[-1] == ("plc", True, "")
        if rig.kind != "rtu":
            assert rig.link.connections == 1  # type: ignore[union-attr]


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


async def test_a_stop_in_a_request_leaves_nothing_behind(rig: Rig) -> None:
    rig.timeout = "30s"
    rig.device.behave = lambda _unit, _pdu: SILENCE
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.device.seen) == 1)
        rig.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5.0):
                await rig.task


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


async def test_a_foreign_frame_before_an_answer_costs_nothing(tmp_path: Path) -> None:
    rig = Rig("rtu", tmp_path)
    rig.device.behave = lambda unit, pdu: [
        Say(b"\3\2\x11\x11", unit=9),
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


async def test_garbage_over_tcp_opens_a_new_connection(tmp_path: Path) -> None:
    rig = Rig("tcp", tmp_path)
    rig.device.script.append([Say(b"\3\1\0")])
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 2)
    assert rig.link.connections == 2  # type: ignore[union-attr]
    assert not any(row.quality == Quality.BAD_LINK for row in rig.port.rows)


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


async def test_a_write_is_done_and_read_back(rig: Rig) -> None:
    tags = {"a": {"address": "holding:5", "type": "uint16", "scale": 0.1, "write": {}}}
    async with rig.running({"plc": {"unit": 1, "tags": tags}}):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        assert await rig.source.write(0, 21.46) == 21.5
    assert rig.device.units[1].holding[5] == 215


async def test_a_write_without_an_answer_is_sent_once(rig: Rig) -> None:
    tags = {"a": {"address": "holding:5", "type": "uint16", "write": {}}}
    rig.device.behave = lambda _unit, pdu: SILENCE if pdu[0] == 16 else None
    async with rig.running({"plc": {"unit": 1, "tags": tags}}):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        with pytest.raises(WriteError) as caught:
            await rig.source.write(0, 7)
        assert caught.value.status == "timeout"
        await rig.port.wait(lambda: len(rig.port.values("plc.a")) >= 3)
    assert sum(seen.pdu[0] == 16 for seen in rig.device.seen) == 1


async def test_a_device_that_keeps_another_value_is_a_mismatch(rig: Rig) -> None:
    tags = {"a": {"address": "holding:5", "type": "uint16", "write": {}}}
    rig.device.behave = lambda _unit, pdu: [Say(pdu[:5])] if pdu[0] == 16 else None
    async with rig.running({"plc": {"unit": 1, "tags": tags}}):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        with pytest.raises(WriteError) as caught:
            await rig.source.write(0, 7)
    assert caught.value.status == "mismatch"


async def test_writes_do_not_starve_reads(rig: Rig) -> None:
    tags = {"a": {"address": "holding:5", "type": "uint16", "write": {}}, **holding(50, 60, 70)}
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu), delay=0.003)]
    async with rig.running({"plc": {"unit": 1, "tags": tags}}, 0.01):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        rig.device.seen.clear()
        await asyncio.gather(*(rig.source.write(0, value) for value in range(12)))
        functions = [seen.pdu[0] for seen in rig.device.seen]
    writes = [index for index, function in enumerate(functions) if function == 16]
    assert len(writes) == 12
    # A write's own read-back and three of the polls' reads stand between two writes.
    assert min(later - earlier for earlier, later in pairwise(writes)) >= 4


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


async def test_a_line_that_is_never_silent_stalls_nothing(tmp_path: Path) -> None:
    rig = Rig("rtu", tmp_path, timeout="100ms")

    async def babble() -> None:
        while True:
            rig.link._send(b"\x7e\x81")  # type: ignore[union-attr]
            await asyncio.sleep(0.0005)

    async with rig.running(one(), 0.2):
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        noise = asyncio.create_task(babble())
        before = len(rig.port.rows)
        await rig.port.wait(lambda: len(rig.port.rows) >= before + 5)
        noise.cancel()
        heard = len(rig.port.values("plc.r5"))
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= heard + 2)
    assert set(rig.port.values("plc.r5")) == {1005}


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


@pytest.mark.parametrize("single", [False, True])
async def test_the_functions_of_writing(rig: Rig, single: bool) -> None:
    tags = {
        "coil": {"address": "coil:3", "write": {}},
        "word": {"address": "holding:5", "type": "int16", "write": {}},
        "real": {"address": "holding:6", "type": "float32", "write": {}},
    }
    async with rig.running({"plc": {"unit": 1, "tags": tags, "write_single": single}}):
        await rig.port.wait(lambda: rig.port.values("plc.word") != [])
        assert await rig.source.write(0, 0) == 0
        assert await rig.source.write(1, -2) == -2
        assert await rig.source.write(2, 2.5) == 2.5
    written = [seen.pdu[0] for seen in rig.device.seen if seen.pdu[0] > 4]
    assert written == ([5, 6, 16] if single else [15, 16, 16])
    assert rig.device.units[1].coils[3] == 0
    assert rig.device.units[1].holding[5] == 0xFFFE


async def test_a_reload_may_change_how_many_requests_are_in_flight(tmp_path: Path) -> None:
    rig = Rig("tcp", tmp_path)
    async with rig.running(one(5, 50), 0.05):
        await rig.port.wait(lambda: rig.port.values("plc.r50") != [])
        rig.source.reconfigure(rig.planned(one(5, 50, max_in_flight=4), 0.05))
        known = len(rig.port.values("plc.r50"))
        await rig.port.wait(lambda: len(rig.port.values("plc.r50")) >= known + 5)
    assert rig.link.connections == 2  # type: ignore[union-attr]
    assert rig.port.qualities("plc.r50") == {Quality.GOOD}
