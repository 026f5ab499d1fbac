"""Commands through the whole daemon onto every driver that writes: the functions used, and what is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snap7.server import Server
from snap7.type import SrvArea

from tests.fakes.cell import cell
from tests.fakes.modbus import FakeDevice, FakeServer, Memory
from tests.fakes.opcua import OpcuaServer, free_port, serving
from tests.fakes.waiting import until

MODBUS_TAGS = """{on: {address: coil:1, type: bool, write: {}}, word: {address: holding:1, type: int16, write: {}},
        real: {address: holding:2, type: float32, write: {}}, bit: {address: holding:5.3, type: bool, write: {}},
        low: {address: holding:6, type: uint8, write: {}}}"""


def modbus(port: int) -> str:
    return f"""  plcs:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {port}
    devices:
      many: {{unit: 1, every: 1s, tags: {MODBUS_TAGS}}}
      single: {{unit: 2, every: 1s, write_single: true, tags: {MODBUS_TAGS}}}
"""


def memory() -> Memory:
    return Memory(holding=dict.fromkeys(range(10), 0xFF00), coils=dict.fromkeys(range(4), 0))


async def test_modbus_functions_5_6_15_16_and_22(tmp_path: Path) -> None:
    units = {1: memory(), 2: memory()}
    device = FakeDevice(dict(units))
    server = FakeServer(device, rtu=False)
    await server.start()
    wishes: dict[str, Any] = {"on": True, "word": -2, "real": 0.5, "bit": True, "low": 7}
    async with cell(tmp_path, more=modbus(server.port)) as c:
        await until(lambda: bool(c.messages("cell/many/data")) and bool(c.messages("cell/single/data")))
        writes = [{"tag": f"{name}.{tag}", "value": wishes[tag]} for name in ("many", "single") for tag in wishes]
        await c.publish("cell/command/write", {"id": "all", "writes": writes})
        await until(lambda: bool(c.messages("cell/command/result")))
        (answer,) = c.bodies("cell/command/result")
    await server.shut()
    assert answer["results"] == [{"tag": write["tag"], "status": "ok", "readback": write["value"]} for write in writes]
    used = {unit: [seen.pdu[0] for seen in device.seen if seen.unit == unit and seen.pdu[0] > 4] for unit in units}
    assert used == {1: [15, 16, 16, 22, 22], 2: [5, 6, 16, 22, 22]}
    for unit in units.values():
        assert (unit.coils[1], unit.holding[1]) == (1, 0xFFFE)
        assert (unit.holding[2], unit.holding[3]) == (0x3F00, 0)
        assert (unit.holding[5], unit.holding[6]) == (0xFF08, 0xFF07)  # the other bits stay as they were


async def test_opc_ua_and_s7(tmp_path: Path) -> None:
    block = bytearray(20)
    plc = Server(log=False)
    plc.register_area(SrvArea.DB, 1, block)
    s7_port = free_port()
    plc.start(s7_port)
    try:
        async with serving(OpcuaServer({"speed": 5, "program": "A"})) as opcua:
            more = f"""  robot:
    driver: opcua
    endpoint: {opcua.endpoint}
    devices:
      welder:
        tags:
          speed: {{node: "ns=2;s=speed", scale: 0.1, write: {{min: 0, max: 100}}}}
          program: {{node: "ns=2;s=program", type: string, write: {{}}}}
  siemens:
    driver: s7
    host: 127.0.0.1
    port: {s7_port}
    devices:
      line:
        every: 1s
        tags:
          count: {{address: DB1.DBW0, type: int16, write: {{}}}}
          level: {{address: DB1.DBD4, type: float32, write: {{}}}}
"""
            async with cell(tmp_path, more=more) as c:
                await until(lambda: bool(c.messages("cell/welder/data")) and bool(c.messages("cell/line/data")))
                wishes = {"welder.speed": 21.5, "welder.program": "B", "line.count": -300, "line.level": 0.25}
                writes = [{"tag": tag, "value": value} for tag, value in wishes.items()]
                writes.append({"tag": "welder.speed", "value": 100.5})
                await c.publish("cell/command/write", {"id": "all", "writes": writes})
                await until(lambda: bool(c.messages("cell/command/result")))
                (answer,) = c.bodies("cell/command/result")
            assert await opcua.nodes["speed"].read_value() == 215
            assert await opcua.nodes["program"].read_value() == "B"
    finally:
        plc.stop()
    assert answer["results"] == [
        *({"tag": tag, "status": "ok", "readback": value} for tag, value in wishes.items()),
        {"tag": "welder.speed", "status": "out_of_range"},
    ]
    assert block[:2] == (-300).to_bytes(2, "big", signed=True)
    assert block[4:8] == b"\x3e\x80\x00\x00"
