"""wire.md, columns: every message decodes by itself with the retained dictionary, bit for bit what json says."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.fakes.cell import Cell, cell, command_line
from tests.fakes.mosquitto import Collector
from tests.fakes.waiting import until

UPSTREAMS = """packed: {{broker: "{broker}", format: columns}}
  plain: {{broker: "{broker}", time_unit: ns, topic: "plain/{{device}}"}}"""


def rows(c: Cell) -> dict[int, list[dict[str, object]]]:
    """What json delivered, by block."""
    return {body["block"]: body["readings"] for body in c.bodies("plain/press/data")}


def boot_of(c: Cell) -> str:
    found: str = c.bodies("plain/press/data")[0]["boot"]
    return found


async def test_each_message_names_its_dictionary_and_decodes_alone(tmp_path: Path) -> None:
    async with cell(tmp_path, UPSTREAMS) as c:
        await until(lambda: len(c.messages("cell/press/columns")) > 5)
        await until(lambda: len(rows(c)) > 6)
        packed, plain = c.messages("cell/press/columns")[:5], rows(c)
        assert all((message.qos, message.retain) == (1, False) for message in packed)
        assert {message.payload[0] for message in packed} == {1}
        digests = {message.payload[2:10].hex() for message in packed}
        with Collector(c.broker.port, "cell/dictionary/#") as late:  # who comes later finds it retained
            late.wait_for(lambda messages: len(messages) >= len(digests))
        dictionaries = {message.topic.removeprefix("cell/dictionary/"): message for message in late.messages}
        assert digests <= dictionaries.keys()
        for message in c.messages(f"cell/dictionary/{next(iter(digests))}"):
            assert (message.qos, message.retain) == (1, True)
        order = [message.topic for message in c.received.messages]
        assert order.index(f"cell/dictionary/{next(iter(digests))}") < order.index("cell/press/columns")
    folder = tmp_path / "dictionaries"
    folder.mkdir()
    for digest, message in dictionaries.items():
        (folder / digest).write_bytes(message.payload)
    random.Random(1).shuffle(packed)
    lines = tmp_path / "payloads"
    lines.write_text("\n".join(message.payload.hex() for message in packed))
    code, out, error = await command_line("decode", str(lines), "--dictionary", str(folder), "--time-unit", "ns")
    assert (code, error) == (0, "")
    decoded = [json.loads(line) for line in out.splitlines()]
    assert list(dict.fromkeys(str(row["block"]) for row in decoded)) == [dict(each.user)["block"] for each in packed]
    assert {(row["gateway"], row["device"], row["boot"]) for row in decoded} == {("cell", "press", boot_of(c))}
    keys = ("tag", "time", "value", "quality", "reason")
    for block in {row["block"] for row in decoded}:
        found = sorted(repr([row.get(key) for key in keys]) for row in decoded if row["block"] == block)
        assert found == sorted(repr([row.get(key) for key in keys]) for row in plain[block])
