from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua

from gateway.errors import WriteError
from gateway.readings import Quality
from tests.fakes.opcua import OpcuaServer, nodes, running, serving


async def test_every_change_of_a_subscribed_number_and_text_arrives_with_its_source_time() -> None:
    async with serving(OpcuaServer({"current": 1.5, "program": "A"})) as server:
        tags = {**nodes("current"), **nodes("program", type="string")}
        async with running(server.endpoint, {"welder": {"publish": "50ms", "tags": tags}}, every=0.0) as (_, port):
            await port.wait(lambda: bool(port.values("welder.current") and port.values("welder.program")))
            start = datetime.now(UTC).replace(microsecond=250_000)
            for step in range(5):
                await server.set("current", 10.0 + step, source=start + timedelta(milliseconds=step))
            await server.set("program", "B")
            await port.wait(lambda: 14.0 in port.values("welder.current") and "B" in port.values("welder.program"))
    assert port.values("welder.current")[-5:] == [10.0, 11.0, 12.0, 13.0, 14.0]
    times = [row.time_ns for row in port.of("welder.current")[-5:]]
    assert times == [int((start + timedelta(milliseconds=step)).timestamp() * 1e6) * 1000 for step in range(5)]
    assert port.values("welder.program") == ["A", "B"]
    assert port.links == [("welder", True, "")]


async def test_a_polled_device_gives_a_row_per_tick() -> None:
    async with serving(OpcuaServer({"a": 3.0, "b": True})) as server:
        device = {"mode": "poll", "tags": {**nodes("a"), **nodes("b", type="bool")}}
        async with running(server.endpoint, {"plc": device}) as (_, port):
            await port.wait(lambda: len(port.values("plc.a")) >= 3)
    assert set(port.values("plc.a")) == {3.0}
    assert set(port.values("plc.b")) == {1.0}
    assert port.qualities("plc.a") == {Quality.GOOD}


async def test_a_trace_shows_what_each_answer_brought() -> None:
    async with serving(OpcuaServer({"a": 3.0, "program": "M8"})) as server:
        device = {"mode": "poll", "tags": {**nodes("a"), **nodes("program", type="string")}}
        lines: list[str] = []
        async with running(server.endpoint, {"plc": device}) as (source, port):
            await port.wait(lambda: bool(port.values("plc.a")))
            source.trace("plc", lines.append)
            await port.wait(lambda: len(lines) >= 2)
    assert re.fullmatch(r"got   2 values in [\d.]+ ms: a=3\.0, program='M8'", lines[-1])


async def test_a_write_takes_the_nodes_own_type_and_is_read_back() -> None:
    async with serving(OpcuaServer({"speed": 5})) as server:
        tags = {"speed": {"node": "ns=2;s=speed", "scale": 0.1, "write": {}}}
        async with running(server.endpoint, {"drive": {"publish": "50ms", "tags": tags}}) as (source, port):
            await port.wait(lambda: 0.5 in port.values("drive.speed"))
            assert await source.write(0, 21.5) == 21.5
            assert await server.nodes["speed"].read_value() == 215
            await port.wait(lambda: 21.5 in port.values("drive.speed"))
            with pytest.raises(WriteError) as refused:
                await source.write(0, "fast")
            assert refused.value.status == "bad_type"


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
async def test_a_node_that_changes_its_type_is_bad_until_it_fits_again(mode: str) -> None:
    strangers = [
        ua.Variant("words", ua.VariantType.String),
        ua.Variant([1.0, 2.0], ua.VariantType.Double),
        ua.Variant(None),
        ua.Variant("Pr\udcfcfstand", ua.VariantType.String),  # on the wire: latin-1, no UTF-8
    ]
    async with serving(OpcuaServer({"a": 1.0, "b": "one"})) as server:
        tags = {**nodes("a"), **nodes("b", type="string")}
        device = {"mode": mode, "tags": tags} | ({"publish": "50ms"} if mode == "subscribe" else {})
        async with running(server.endpoint, {"plc": device}) as (_, port):
            await port.wait(lambda: port.values("plc.a")[-1:] == [1.0] and port.values("plc.b")[-1:] == ["one"])
            for number, stranger in enumerate(strangers):
                port.rows.clear()
                for name in ("a", "b"):
                    await server.write(name, stranger)
                await port.wait(lambda: Quality.BAD_DECODE in port.qualities("plc.a"))
                await server.write("a", ua.Variant(10.0 + number, ua.VariantType.Double))
                await server.write("b", ua.Variant(f"text {number}", ua.VariantType.String))
                await port.wait(
                    lambda number=number: (  # type: ignore[misc]
                        10.0 + number in port.values("plc.a") and f"text {number}" in port.values("plc.b")
                    )
                )
    assert port.links == [("plc", True, "")]
