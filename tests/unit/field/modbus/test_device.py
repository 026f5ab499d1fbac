from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.modbus import pdu
from gateway.field.modbus.client import PymodbusWire
from gateway.field.modbus.device import RETEST_S, Device, places
from gateway.field.modbus.framing import RtuFraming, differing, shape
from gateway.field.modbus.memory import Memory
from gateway.field.modbus.mute import Muted
from gateway.field.modbus.pdu import DeviceError
from gateway.field.modbus.plan import Block, Span
from gateway.field.modbus.session import Session
from gateway.field.modbus.settings import ModbusTcp
from gateway.field.modbus.timing import LineTiming
from gateway.field.modbus.wire import Answer, Request
from gateway.readings import Quality
from tests.fakes.port import plan_of


def device(tags: dict[str, Any], memory: Memory | None = None, **keys: Any) -> Device:
    """A device with its tags planned."""
    connection = ModbusTcp.model_validate(
        {"driver": "modbus-tcp", "host": "h", "devices": {"plc": {"unit": 1, "tags": tags, **keys}}}
    )
    plan = plan_of(connection)
    return Device("plc", connection.devices["plc"], places(plan, "plc"), 1.0, memory)


TAGS = {name: {"address": f"holding:{number}", "type": "uint16"} for number, name in enumerate("abcdef")}
REFUSED = DeviceError(2)


def test_types_join_in_one_request_and_functions_do_not() -> None:
    made = device(
        {
            "a": {"address": "holding:0", "type": "int16"},
            "b": {"address": "holding:1", "type": "float32"},
            "c": {"address": "holding:3.2", "type": "bool"},
            "d": {"address": "holding:3", "type": "uint8"},
            "e": {"address": "input:4", "type": "int16"},
            "f": {"address": "coil:0"},
        }
    )
    assert [(block.function, block.start, block.count) for block in made.plan.blocks] == [
        (1, 0, 1),
        (3, 0, 4),
        (4, 4, 1),
    ]


def test_limits_of_the_device_hold() -> None:
    made = device({"a": {"address": "holding:0", "type": "uint16", "count": 50}}, max_registers=20)
    assert [block.count for block in made.plan.blocks] == [20, 20, 10]


def test_a_refused_tag_is_named_with_its_address(caplog: pytest.LogCaptureFixture) -> None:
    made = device(TAGS)
    assert made.split(Block.of(3, [Span(2, 3)]), REFUSED) is None
    assert "plc.c (holding:2 (40003)): refused by the device: exception 2 (illegal data address)" in caplog.text
    assert [(block.start, block.stop) for block in made.plan.blocks] == [(0, 2), (3, 6)]
    assert made.plan.decoder.absent.tolist() == [2]
    caplog.clear()
    made.split(Block.of(3, [Span(2, 3)]), REFUSED)
    assert caplog.text == ""


def test_refused_tags_are_tried_again_each_hour_a_few_per_poll() -> None:
    made = device(TAGS)
    for number in range(6):
        made.split(Block.of(3, [Span(number, number + 1)]), REFUSED)
    assert made.retests(0.0) == []
    assert made.retests(RETEST_S - 1) == []
    assert len(made.retests(RETEST_S)) == 4
    assert len(made.retests(RETEST_S + 1)) == 2
    assert made.retests(RETEST_S + 2) == []
    assert len(made.retests(2 * RETEST_S)) == 4


def test_with_everything_refused_the_unit_is_still_asked() -> None:
    made = device({"a": TAGS["a"]})
    made.split(Block.of(3, [Span(0, 1)]), REFUSED)
    assert made.plan.blocks == ()
    assert made.cheapest() == Block.of(3, [Span(0, 1)])


def test_a_probe_asks_for_what_answered_before() -> None:
    made = device({"a": TAGS["a"], "z": {"address": "holding:90", "type": "float32"}})
    asked = [made.cheapest().start for _ in range(4)]
    assert asked == [0, 90, 0, 90]  # nothing is known yet: not always the one that may never answer
    made.proven = made.plan.blocks[1]
    assert [made.cheapest().start for _ in range(2)] == [90, 90]


def test_memory_is_of_one_device(tmp_path: Path) -> None:
    file = tmp_path / "state" / "modbus-plc.json"
    made = device(TAGS, Memory(file, "here unit 1"))
    made.split(Block.of(3, [Span(2, 3)]), REFUSED)
    made.remember()
    assert len(device(TAGS, Memory(file, "here unit 1")).plan.blocks) == 2
    assert len(device(TAGS, Memory(file, "there unit 1")).plan.blocks) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"device": "x"}', '{"device": "x", "refused": {"3": [[1]]}, "cuts": {}}']
)
def test_a_torn_memory_is_an_empty_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "memory.json"
    file.write_text(text)
    assert len(device(TAGS, Memory(file, "x")).plan.blocks) == 1


def test_a_memory_that_can_not_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = device(TAGS, Memory(tmp_path / "file" / "below", "x"))
    made.split(Block.of(3, [Span(2, 3)]), REFUSED)
    made.remember()


def test_a_hopeless_request_is_left_out_after_the_second_time_and_longer_each_time() -> None:
    muted, block, now, key = Muted(), Block.of(3, [Span(0, 1)]), 0.0, (3, 0, 1)
    assert muted.failed(block, Quality.BAD_TIMEOUT, now) == 0.0
    assert muted.skipped(now) == {}
    waits = []
    for _ in range(8):
        waits.append(muted.failed(block, Quality.BAD_DECODE, now))
        assert muted.skipped(now + waits[-1] - 0.1) == {key: Quality.BAD_DECODE}
        now += waits[-1]
        assert muted.skipped(now) == {}
    assert 22 <= waits[0] <= 30
    assert 450 <= waits[-1] <= 600
    muted.answered(block)
    assert muted.failed(block, Quality.BAD_TIMEOUT, now) == 0.0


@given(st.sampled_from([1, 2, 3, 4]), st.integers(0, 65535), st.sets(st.integers(1, 125), min_size=1, max_size=20))
def test_a_differing_request_can_not_be_confused(function: int, start: int, counts: set[int]) -> None:
    requests = [Request(1, pdu.read(function, start, count), 1.0) for count in counts]
    taken = set(map(shape, requests))
    other = differing(requests[0], taken)
    assert shape(other) not in taken
    assert 1 <= int.from_bytes(other.pdu[3:5], "big") <= (125 if function > 2 else 2000)
    assert other.pdu[:3] == requests[0].pdu[:3]


class Closing:
    """A wire that can only be closed."""

    def __init__(self) -> None:
        self.closed = False
        self.lost = ""

    def start(self, request: Request) -> Any:
        raise AssertionError

    async def settle(self) -> None:
        """Nothing is ever sent."""

    def close(self) -> None:
        self.closed = True


def test_a_connection_that_nobody_answers_on_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("gateway.field.modbus.session.time.monotonic", lambda: now[0])
    wires: list[Closing] = []

    async def opener() -> Closing:
        wires.append(Closing())
        return wires[-1]

    async def main() -> None:
        held = Session(opener, reopens=True)
        async with held.link():
            now[0] += 59.0
            await held.renew()
            assert len(wires) == 1
            held.answered()
            now[0] += 59.0
            await held.renew()
            assert len(wires) == 1
            now[0] += 2.0
            await held.renew()
            assert [wire.closed for wire in wires] == [True, False]

    asyncio.run(main())


def test_a_read_that_looks_like_any_given_up_is_asked_behind_one_that_does_not() -> None:
    """The answers of a slow device come one after the other: with the next one's all before it are settled."""
    asked: list[Request] = []
    one, two, three = (Request(1, pdu.read(3, 100, count), 1.0) for count in (1, 2, 3))
    write = Request(1, pdu.write_registers(100, b"\0\1"), 1.0)

    class Recorded(PymodbusWire):
        async def _exchange(self, request: Request) -> Answer:
            asked.append(request)
            return Answer(b"", 0, 0.0)

    async def main() -> None:
        wire = Recorded(RtuFraming(), LineTiming(0.0, 0.0), SimpleNamespace(), 1.0)
        wire._given_up = {shape(one), shape(two), shape(write)}
        await wire.start(three)
        await wire.start(write)
        assert asked == [three, write]
        asked.clear()
        await wire.start(one)
        between, last = asked
        assert last == one
        assert shape(between) not in wire._given_up

    asyncio.run(main())
