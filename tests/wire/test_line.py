from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.field.line import LINE
from gateway.field.line.settings import LineConnection
from gateway.readings import Quality
from tests.fakes.line import PtyInstrument, TcpInstrument
from tests.fakes.port import RecordingPort, context_of, plan_of, settings_of

SCALE = {
    "pattern": r"^(?P<mode>ST|US),GS,(?P<weight>[+-]\d+\.\d+)kg$",
    "tags": {"weight": {"field": "weight", "unit": "kg"}, "mode": {"field": "mode", "type": "string"}},
}


@asynccontextmanager
async def running(
    every: float = 0.05, devices: dict[str, Any] | None = None, **keys: Any
) -> AsyncIterator[RecordingPort]:
    connection = settings_of(LineConnection, driver="line", devices=devices or {"scale": SCALE}, **keys)
    plan = plan_of(connection, every)
    context, port = context_of(plan)
    source = LINE.open(plan, context)
    task = asyncio.create_task(source.run())
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def test_an_asked_instrument_on_a_serial_port_gives_number_and_text() -> None:
    scale = PtyInstrument(lambda _request: b"ST,GS,+12.50kg\r\n")
    try:
        async with running(port=scale.port, poll="W\r\n") as port:
            await port.wait(lambda: len(port.values("scale.weight")) >= 3)
    finally:
        scale.close()
    assert set(port.values("scale.weight")) == {12.5}
    assert set(port.values("scale.mode")) == {"ST"}
    assert set(scale.requests) == {b"W\r\n"}
    assert port.links == [("scale", True, "")]


async def test_a_talker_over_tcp_is_heard_and_its_half_first_line_is_dropped() -> None:
    scale = TcpInstrument()
    await scale.start()
    try:
        async with running(tcp=scale.endpoint) as port:
            await port.wait(lambda: scale.connected)
            scale.say(b"T,GS,+99.99kg\r\nST,GS,+1.00kg\r")
            await asyncio.sleep(0)
            scale.say(b"\nUS,GS,-2.00kg\r\n")
            await port.wait(lambda: len(port.values("scale.weight")) >= 2)
    finally:
        await scale.stop()
    assert port.values("scale.weight") == [1.0, -2.0]
    assert port.values("scale.mode") == ["ST", "US"]
    assert Quality.BAD_DECODE not in port.qualities("scale.weight")
