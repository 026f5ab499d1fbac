from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from ruamel.yaml import YAML

from gateway.errors import LinkError
from gateway.field.modbus.settings import ModbusRtu, ModbusTcp
from gateway.tools.scan import Wishes, _scan_rtu, _scan_tcp
from gateway.tools.simulation.modbus import ModbusRtuServer, ModbusTcpServer, answer_tcp
from gateway.tools.simulation.ports import free_port
from gateway.tools.simulation.registers import Image, to_words
from tests.fakes.waiting import until


def _image() -> Image:
    image = Image()
    for place, value in enumerate((211.53, 36.61, 49.98)):
        image.put("holding", 20 + 2 * place, to_words(value, "float32", "CDAB"))
    image.put("holding", 40, [9800, 215])
    image.put("input", 3, [7])
    image.put("coil", 5, [1, 0, 1])
    return image


async def test_a_tcp_server_is_explored(capsys: pytest.CaptureFixture[str]) -> None:
    async with ModbusTcpServer({3: _image()}) as server:
        wishes = Wishes([1, 2, 3, 4], 0, 60, timeout_s=5.0, pause_s=0.0)
        assert await _scan_tcp("127.0.0.1", server.port, wishes, as_json=False) == 0
    out, err = capsys.readouterr()
    assert "unit 3 answers" in err
    assert "unit 2 answers" not in err
    settings = ModbusTcp.model_validate(YAML(typ="safe").load(out)["connections"]["plc-127-0-0-1"])
    (device,) = settings.devices.values()
    assert device.unit == 3
    assert {name: (tag.type, tag.order, tag.count) for name, tag in device.tags.items()} == {
        "holding_20": ("float32", "CDAB", None),
        "holding_22": ("float32", "CDAB", None),
        "holding_24": ("float32", "CDAB", None),
        "holding_40": ("uint16", None, 2),
        "input_3": ("uint16", None, None),
        "coil_5": ("bool", None, 3),
    }


async def test_a_server_that_answers_to_any_unit_is_explored_once(capsys: pytest.CaptureFixture[str]) -> None:
    image = _image()
    async with ModbusTcpServer({1: image, 2: image, 3: image}) as server:
        await _scan_tcp("127.0.0.1", server.port, Wishes([1, 2, 3], 0, 30, 5.0, 0.0), as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert [unit["unit"] for unit in report["units"]] == [1]
    assert report["units"][0]["note"] == "answers to any unit number"


async def test_stopped_half_way_it_shows_what_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = [0]
    monkeypatch.setattr("gateway.tools.scan._progress", lambda _unit, _area, place: reached.append(place))
    async with ModbusTcpServer({3: _image()}) as server:
        wishes = Wishes([3], 0, 60_000, timeout_s=5.0, pause_s=0.0)
        task = asyncio.create_task(_scan_tcp("127.0.0.1", server.port, wishes, as_json=False))
        await until(lambda: reached[-1] > 500)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    out, err = capsys.readouterr()
    assert "stopped: what was found so far" in err
    (device,) = ModbusTcp.model_validate(YAML(typ="safe").load(out)["connections"]["plc-127-0-0-1"]).devices.values()
    assert "holding_22" in device.tags


async def test_the_baud_rate_of_a_line_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    async with ModbusRtuServer({2: _image()}, baudrate=9600) as server:
        wishes = Wishes([1, 2], 0, 45, timeout_s=0.3, pause_s=0.0)
        # A pseudo terminal has no parity, so only the rates are searched here.
        assert await _scan_rtu(server.path, (19_200, 9_600), ("none",), wishes, as_json=False) == 0
    settings = ModbusRtu.model_validate(YAML(typ="safe").load(capsys.readouterr().out)["connections"]["line"])
    assert (settings.baudrate, settings.parity) == (9600, "none")
    assert set(settings.devices) == {"line-2"}


async def test_a_line_behind_a_converter_is_explored(capsys: pytest.CaptureFixture[str]) -> None:
    async with ModbusTcpServer({2: _image()}, rtu=True) as server:
        wishes = Wishes([1, 2], 0, 45, timeout_s=0.3, pause_s=0.0)
        assert await _scan_tcp("127.0.0.1", server.port, wishes, rtu=True, as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["link"]["driver"] == "modbus-rtu-tcp"
    assert report["units"][0]["tables"]["holding"] == [[20, 25], [40, 41]]


async def test_a_server_that_hangs_up_on_strangers_is_explored(capsys: pytest.CaptureFixture[str]) -> None:
    image = _image()
    conversations: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        buffer = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                if data[6] != 2:
                    break
                buffer += data
                writer.write(answer_tcp({2: image}, buffer))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await _scan_tcp("127.0.0.1", port, Wishes([1, 2, 3], 0, 45, 5.0, 0.0), as_json=True) == 0
        await until(lambda: all(each is None or each.done() for each in conversations))
    assert [unit["unit"] for unit in json.loads(capsys.readouterr().out)["units"]] == [2]


async def test_nobody_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async with ModbusTcpServer({}) as server:
        assert await _scan_tcp("127.0.0.1", server.port, Wishes([1, 2], 0, 10), as_json=False) == 1
    assert "nobody answered" in capsys.readouterr().err


async def test_a_scan_only_reads() -> None:
    functions: set[int] = set()
    image = _image()

    class Watched(Image):
        def answer(self, request: bytes) -> bytes:
            functions.add(request[0])
            return image.answer(request)

    async with ModbusTcpServer({1: Watched()}) as server:
        await asyncio.wait_for(_scan_tcp("127.0.0.1", server.port, Wishes([1], 0, 60, 5.0, 0.0), as_json=False), 30)
    assert functions == {1, 2, 3, 4}


async def test_a_port_that_is_not_there_is_tried_twice_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LinkError, match="no such port"):
        await _scan_rtu("/dev/nothing", (19_200, 9_600), ("even", "none"), Wishes([1]), as_json=False)
    assert capsys.readouterr().err.count("no such port") == 1


async def test_a_refused_connection_names_the_server() -> None:
    port = free_port()
    with pytest.raises(LinkError, match=str(port)):
        await _scan_tcp("127.0.0.1", port, Wishes([1]), as_json=False)
