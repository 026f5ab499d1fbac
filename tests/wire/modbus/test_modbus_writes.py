"""Writes: done once, read back, between the polls."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from gateway.errors import WriteError
from tests.fakes.modbus import SILENCE, Say
from tests.fakes.modbus_rig import Rig, holding


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


async def test_two_writes_in_a_row_without_an_answer_are_each_sent_once(rig: Rig) -> None:
    """The second one looks like the first, whose answer may still come; a write is no means to find out."""
    rig.timeout = "50ms"
    tags = {"a": {"address": "holding:5", "type": "uint16", "write": {}}}
    rig.device.behave = lambda _unit, pdu: SILENCE if pdu[0] == 16 else None
    async with rig.running({"plc": {"unit": 1, "tags": tags}}, 30.0):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        outcomes = await asyncio.gather(*(rig.source.write(0, value) for value in (7, 8)), return_exceptions=True)
    assert [outcome.status for outcome in outcomes if isinstance(outcome, WriteError)] == ["timeout", "timeout"]
    assert sum(seen.pdu[0] == 16 for seen in rig.device.seen) == 2
