from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.config import Configuration, load
from gateway.tools.probe import _probe
from gateway.tools.simulation.modbus import ModbusTcpServer
from gateway.tools.simulation.ports import free_port
from gateway.tools.simulation.registers import Image
from tests.fakes.simulated import simulated

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"


MAX_GAP = """
        max_gap: 10
        tags:
          a: {address: holding:0}
          b: {address: holding:1}
          c: {address: holding:5}
          d: {address: holding:6}
"""


def one_plc(folder: Path, port: int, device: str, timeout: str = "1s") -> Configuration:
    """A configuration with one device, given as YAML."""
    file = folder / "gateway.yaml"
    file.write_text(f"""
gateway: {{name: trial}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {port}
    timeout: {timeout}
    devices:
      plc:
        {device.strip()}
upstreams: {{plant: {{broker: "mqtt://127.0.0.1:{free_port()}"}}}}
""")
    return load(file)


class Shifting(Image):
    """A device that silently leaves holes out of a block, so that what follows has moved."""

    def answer(self, request: bytes) -> bytes:
        function, address, count = request[0], int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        words = [
            self.get("holding", place)[0] for place in range(address, 200) if self.tables["holding"].defined[place]
        ]
        body = b"".join(word.to_bytes(2, "big") for word in (words + [0] * count)[:count])
        return bytes((function, len(body))) + body


async def test_a_device_that_shifts_values_across_holes_is_caught(tmp_path: Path) -> None:
    image = Shifting()
    for address in (0, 1, 5, 6):
        image.put("holding", address, [100 + address])
    async with ModbusTcpServer({1: image}) as server:
        configuration = one_plc(tmp_path, server.port, MAX_GAP)
        probed = await _probe(configuration, list(configuration.buses.values()))
    assert {each.tag.name: each.difference for each in probed} == {"a": False, "b": False, "c": True, "d": True}
    assert [each.single.value for each in probed if each.single] == [100.0, 101.0, 105.0, 106.0]


async def test_a_dead_connection_gives_bad_tags_and_the_others_still_read(tmp_path: Path) -> None:
    async with simulated(EXAMPLES / "textile-line.yaml", tmp_path) as configuration:
        text = (tmp_path / "remapped.yaml").read_text()
        drives = configuration.buses["drives"].settings.port  # type: ignore[attr-defined]  # the driver's own model
        file = tmp_path / "dead.yaml"
        file.write_text(text.replace(f"port: {drives}", f"port: {free_port()}"))
        dead = load(file)
        probed = await asyncio.wait_for(_probe(dead, list(dead.buses.values())), 60)
    bad = {each.tag.device for each in probed if not each.fine}
    assert bad == {"main-drive"}


async def test_a_device_that_answers_nothing_is_not_asked_for_every_tag(tmp_path: Path) -> None:
    requests, gone = bytearray(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1024):
            requests.extend(part)
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    configuration = one_plc(tmp_path, port, "tags: {x: {address: holding:0, type: int16, count: 100}}", "50ms")
    async with server:
        probed = await _probe(configuration, list(configuration.buses.values()))
        async with asyncio.timeout(10):
            await gone.wait()
    details = [each.single.detail for each in probed if each.single]
    assert len(details) == 100
    assert details.count("not asked: the device answers nothing") == 95
    assert len(requests) == 5 * 12
