"""wire.md, json: what an outside reader sees, who knows nothing but the contract."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from tests.fakes.cell import cell
from tests.fakes.waiting import until

HEAD = ["gateway", "device", "boot", "block", "readings"]


async def test_one_message_per_device_and_block(tmp_path: Path) -> None:
    begun = time.time_ns()
    async with cell(tmp_path) as c:
        await until(lambda: len(c.messages("cell/press/data")) > 5)
        messages, bodies = c.messages("cell/press/data"), c.bodies("cell/press/data")
        assert all((message.qos, message.retain) == (1, False) for message in messages)
        assert all(list(body) == HEAD for body in bodies)
        assert {(body["gateway"], body["device"]) for body in bodies} == {("cell", "press")}
        assert len({body["boot"] for body in bodies}) == 1
        assert re.fullmatch("[0-9a-f]{6}", bodies[0]["boot"])
        blocks = [body["block"] for body in bodies]
        assert blocks == sorted(set(blocks))
        assert {type(block) for block in blocks} == {int}
        for message, body in zip(messages, bodies, strict=True):
            assert dict(message.user) == {key: str(body[key]) for key in ("gateway", "boot", "block", "device")}
        for reading in c.readings("cell/press/data"):
            reason = ["reason"] if reading["quality"] != "good" else []
            assert list(reading) == ["tag", "time", "value", "quality", *reason]
            assert type(reading["time"]) is int
            assert begun // 1_000_000 <= reading["time"] <= time.time_ns() // 1_000_000
        last = {reading["tag"]: reading for reading in c.readings("cell/press/data")}
        await c.server.shutdown()  # type: ignore[no-untyped-call]
        await until(lambda: any(reading.get("reason") == "link" for reading in c.readings("cell/press/data")))
        dead = [reading for reading in c.readings("cell/press/data") if reading.get("reason") == "link"]
    values = {name: (reading["value"], reading["quality"], reading.get("reason")) for name, reading in last.items()}
    assert {name: values[name] for name in ("real", "whole", "scaled", "even", "bit", "text", "setpoint")} == {
        "real": (21.5, "good", None),
        "whole": (-7, "good", None),
        "scaled": (21.5, "good", None),
        "even": (21.0, "good", None),
        "bit": (True, "good", None),
        "text": ('Lö"\\t', "good", None),
        "setpoint": (0, "good", None),
    }
    assert {name: type(value) for name, (value, _, _) in values.items() if name in {"even", "whole", "bit"}} == {
        "even": float,
        "whole": int,
        "bit": bool,
    }
    assert values["beyond"] == (21.5, "bad", "range")
    assert values["nan"] == (None, "bad", "decode")
    assert values["missing"] == (None, "bad", "exception")
    assert values["large"] == (2**63, "uncertain", "precision")
    assert all((reading["value"], reading["quality"]) == (None, "bad") for reading in dead)


async def test_a_device_that_is_silent_is_bad_with_reason_timeout(tmp_path: Path) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        more = f"""  dead:
    {{driver: modbus-tcp, host: 127.0.0.1, port: {port}, timeout: 200ms,
     devices: {{oven: {{unit: 1, every: 200ms, tags: {{t: {{address: holding:0, type: int16}}}}}}}}}}"""
        async with cell(tmp_path, more=more) as c:
            await until(lambda: bool(c.messages("cell/oven/data")))
            first = c.readings("cell/oven/data")[0]
            await until(lambda: bool(c.messages("cell/oven/state")))
            state = c.bodies("cell/oven/state")[-1]
            mute.close()
    assert (first["value"], first["quality"], first["reason"]) == (None, "bad", "timeout")
    assert (state["state"], state["reason"]) == ("offline", "timeout")


async def test_units_parts_and_a_message_per_reading(tmp_path: Path) -> None:
    upstreams = """plant: {{broker: "{broker}"}}
  us: {{broker: "{broker}", time_unit: us, topic: "us/{{gateway}}/{{device}}"}}
  ns: {{broker: "{broker}", time_unit: ns, topic: "{{enterprise}}/{{site}}/{{area}}/{{line}}/{{device}}/{{tag}}"}}
  small: {{broker: "{broker}", max_message: 1KiB, topic: "small/{{device}}",
    select: ["*.whole", "press.s*", "*.l*"]}}"""
    async with cell(tmp_path, upstreams) as c:
        await until(lambda: len(c.messages("cell/press/data")) > 4)
        await until(lambda: len(c.messages("us/cell/press/data")) > 4)
        await until(lambda: len(c.messages("small/press/data")) > 4)
        await until(lambda: len(c.messages("acme/north/welding/l1/press/whole")) > 8)
        ms = {
            (body["block"], reading["tag"], reading["time"])
            for body in c.bodies("cell/press/data")[:4]
            for reading in body["readings"]
        }
        us = {
            (body["block"], reading["tag"], reading["time"])
            for body in c.bodies("us/cell/press/data")
            for reading in body["readings"]
        }
        assert ms <= {(block, tag, stamp // 1000) for block, tag, stamp in us}
        singles = c.messages("acme/north/welding/l1/press/whole")
        bodies = c.bodies("acme/north/welding/l1/press/whole")
        assert all((message.qos, message.retain) == (1, False) for message in singles)
        assert all(
            list(body) == ["gateway", "device", "tag", "time", "value", "quality", "boot", "block"] for body in bodies
        )
        assert {(body["device"], body["tag"], body["value"]) for body in bodies} == {("press", "whole", -7)}
        stamps = {(block, stamp) for block, tag, stamp in us if tag == "whole"}
        assert {(body["block"], body["time"] // 1000) for body in bodies} & stamps
        missing = c.bodies("acme/north/welding/l1/press/missing")[0]
        assert (missing["value"], missing["quality"], missing["reason"]) == (None, "bad", "exception")
        parts: dict[int, list[int]] = {}
        for message, body in zip(c.messages("small/press/data"), c.bodies("small/press/data"), strict=True):
            assert len(message.payload) <= 1024
            assert list(body) == ["gateway", "device", "boot", "block", "part", "readings"]
            assert dict(message.user)["part"] == str(body["part"])
            parts.setdefault(body["block"], []).append(body["part"])
        assert all(numbers == list(range(len(numbers))) for numbers in parts.values())
        assert max(map(len, parts.values())) > 1
        chosen = {reading["tag"] for reading in c.readings("small/press/data")}
        assert chosen == {"whole", "scaled", "setpoint", "speed", "large", "lot"}
