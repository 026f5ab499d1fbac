"""A whole cell seen from outside: the real daemon between a pymodbus server and a real mosquitto, and a subscriber.

async with cell(tmp_path) as c:
    await until(lambda: bool(c.messages("cell/press/data")))
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, Received, free_port

TAGS = """
real: {address: holding:100, type: float32, order: CDAB, range: {min: -40, max: 400}}
beyond: {address: holding:100, type: float32, order: CDAB, range: {min: 0, max: 10}}
whole: {address: holding:110, type: int16}
scaled: {address: holding:120, type: uint16, scale: 0.1}
even: {address: holding:111, type: uint16, scale: 0.1}
large: {address: holding:112, type: uint64}
bit: {address: holding:121.3, type: bool}
text: {address: holding:122, type: string, length: 8}
nan: {address: holding:130, type: float32}
missing: {address: holding:5000, type: int16}
setpoint: {address: holding:140, type: int16, write: {min: 0, max: 1500}}
speed: {address: holding:141, type: uint16, scale: 0.1, write: {}}
ratio: {address: holding:142, type: float32, write: {}}
on: {address: holding:144.2, type: bool, write: {}}
lot: {address: holding:146, type: string, length: 8, write: {}}
byte: {address: holding:150, type: uint8, write: {}}
absent: {address: holding:6000, type: int16, write: {}}
"""
CONFIG = """
gateway:
  name: cell
  site: {{enterprise: acme, site: north, area: welding, line: l1}}
  location: {{latitude: 38.31, longitude: 116.84}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    timeout: 300ms
    devices:
      press: {{unit: 1, every: 100ms, tags: {{{tags}}}}}
{more}
spool: {{path: {folder}/spool.db, seal: {{max_age: 200ms}}, commit_interval: 400ms{spool}}}
upstreams:
  {upstreams}
status: {{listen: none}}
"""


def registers() -> list[int]:
    """Registers 0 to 299 of the press."""
    cells = [0] * 300
    high, low = struct.unpack(">HH", struct.pack(">f", 21.5))
    cells[100:102] = [low, high]
    cells[110] = 0xFFF9
    cells[111], cells[120] = 210, 215
    cells[112:116] = struct.unpack(">4H", struct.pack(">Q", 2**63 + 1))
    cells[121] = 0b1000
    cells[122:126] = struct.unpack(">4H", 'Lö"\\t'.encode().ljust(8, b"\0"))
    cells[130:132] = [0x7FC0, 0]
    return cells


@dataclass
class Cell:
    """The running parts."""

    config: Path
    plc_port: int
    server: ModbusTcpServer
    broker: Mosquitto
    received: Collector
    daemon: GatewayProcess

    def messages(self, topic: str) -> list[Received]:
        """What arrived on a topic, in order."""
        return [message for message in list(self.received.messages) if message.topic == topic]

    def bodies(self, topic: str) -> list[dict[str, Any]]:
        """The JSON objects that arrived on a topic, in order."""
        return [json.loads(message.payload) for message in self.messages(topic)]

    def readings(self, topic: str, tag: str = "") -> list[dict[str, Any]]:
        """The readings that arrived on a data topic, of one tag or of all."""
        return [
            reading for body in self.bodies(topic) for reading in body["readings"] if not tag or reading["tag"] == tag
        ]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in order."""
        return [event for event in self.bodies("cell/events") if event["event"] == kind]

    async def publish(self, topic: str, body: object, **options: Any) -> None:
        """Publish with QoS 1 as another client."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        await asyncio.to_thread(self.received.publish, topic, payload, **options)

    async def poke(self, address: int, *values: int) -> None:
        """Change registers behind the gateway's back."""
        async with AsyncModbusTcpClient("127.0.0.1", port=self.plc_port) as client:
            await client.write_registers(address, list(values), device_id=1)

    async def peek(self, address: int, count: int = 1) -> list[int]:
        """The registers as the PLC has them."""
        async with AsyncModbusTcpClient("127.0.0.1", port=self.plc_port) as client:
            answer = await client.read_holding_registers(address, count=count, device_id=1)
            return list(answer.registers)


@asynccontextmanager
async def cell(
    folder: Path,
    upstreams: str = 'plant: {{broker: "{broker}", commands: true}}',
    *,
    tags: str = TAGS,
    more: str = "",
    spool: Mapping[str, str] | None = None,
) -> AsyncIterator[Cell]:
    """Everything running, the subscriber first; `{broker}` in `upstreams` is the broker's address."""
    port = free_port()
    memory = SimDevice(1, [SimData(0, values=registers(), datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(context=memory, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        with Mosquitto(folder) as broker, Collector(broker.port, qos=1) as received:
            config = folder / "gateway.yaml"
            config.write_text(
                CONFIG.format(
                    plc=port,
                    folder=folder,
                    tags=", ".join(tags.strip().splitlines()),
                    more=more,
                    spool="".join(f", {key}: {value}" for key, value in (spool or {}).items()),
                    upstreams=upstreams.format(broker=broker.url),
                )
            )
            async with GatewayProcess(config) as daemon:
                await daemon.ready()
                yield Cell(config, port, server, broker, received, daemon)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def command_line(*words: str) -> tuple[int, str, str]:
    """`gateway WORDS...`: exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()
