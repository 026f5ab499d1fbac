"""Links that go away, never come, or end when nobody expects it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.field.modbus.frames import rtu_frame
from gateway.readings import Quality
from tests.fakes.modbus import SILENCE, Action, FakeServer, HangUp, Raw, Say
from tests.fakes.modbus_rig import Rig, one
from tests.fakes.waiting import until

NETWORK = pytest.mark.parametrize("rig", ["tcp", "pipelined", "rtu-tcp"], indirect=True)  # a port is never hung up


@pytest.mark.parametrize("begun", [b"", b"\1\3\2"])
async def test_a_link_cut_in_a_request_or_an_answer_is_seen_at_once_and_comes_back(rig: Rig, begun: bytes) -> None:
    """Cut twice: a link that has worked is opened once more before it counts as lost."""
    rig.timeout = "10s"
    cuts = 1 if rig.kind == "rtu" else 2
    rig.device.script.append([Say(b"\3\2\0\1")])
    rig.device.script.extend([[Raw(begun), HangUp(0.01)]] * cuts)
    async with rig.running(one()):
        loop = asyncio.get_running_loop()
        await rig.port.wait(lambda: len(rig.device.seen) == 1 + cuts)
        asked = loop.time()
        await rig.port.wait(lambda: Quality.BAD_LINK in rig.port.qualities("plc.r5"))
        assert loop.time() - asked < 5.0  # the timeout is twice as long
        assert ("plc", False, "link") in rig.port.links
        if rig.kind == "rtu":
            await rig.link.start()
        await rig.port.wait(lambda: 1005 in rig.port.values("plc.r5"))
        assert rig.port.links[-1] == ("plc", True, "")


async def test_while_the_link_is_down_every_tick_says_so(rig: Rig) -> None:
    async with rig.running(one(), plugged=False):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 6)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_LINK}
        assert rig.port.links == [("plc", False, "link")]
        await rig.link.start()
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        assert rig.port.links[-1] == ("plc", True, "")


async def test_silence_is_timeout_and_the_link_stays(rig: Rig) -> None:
    rig.timeout = "20ms"
    rig.device.behave = lambda _unit, _pdu: SILENCE
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 50)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_TIMEOUT}
        assert rig.port.links == [("plc", False, "timeout")]
        rig.device.behave = None
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        assert not any(row.quality == Quality.BAD_LINK for row in rig.port.rows)
        assert rig.port.links[-1] == ("plc", True, "")
        if rig.kind != "rtu":
            assert rig.link.connections == 1  # type: ignore[union-attr]


async def test_a_stop_in_a_request_leaves_nothing_behind(rig: Rig) -> None:
    rig.timeout = "30s"
    rig.device.behave = lambda _unit, _pdu: SILENCE
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.device.seen) == 1)
        rig.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5.0):
                await rig.task


async def test_garbage_over_tcp_opens_a_new_connection(tmp_path: Path) -> None:
    rig = Rig("tcp", tmp_path)
    rig.device.script.append([Say(b"\3\1\0")])
    async with rig.running(one()):
        await rig.port.wait(lambda: len(rig.port.values("plc.r5")) >= 2)
    assert rig.link.connections == 2  # type: ignore[union-attr]
    assert not any(row.quality == Quality.BAD_LINK for row in rig.port.rows)


@NETWORK
async def test_a_device_that_ends_idle_connections_is_read_without_a_gap(rig: Rig) -> None:
    """Its patience is shorter than the poll interval: each poll finds the connection closed, the first one, too."""
    rig.timeout = "150ms"
    assert isinstance(rig.link, FakeServer)
    rig.link.patience_s = 0.3
    async with rig.running(one(5, 6), 0.6):
        await rig.port.wait(lambda: len(rig.port.values("plc.r6")) >= 4)
    assert rig.port.qualities("plc.r5") == {Quality.GOOD}
    assert rig.port.links == [("plc", True, "")]
    assert rig.link.connections >= 4
    assert rig.context.counters.device("plc").missed == 0


@NETWORK
async def test_a_device_that_hangs_up_after_each_answer_is_read_whole(rig: Rig) -> None:
    rig.timeout = "150ms"
    rig.device.behave = lambda unit, pdu: [Say(rig.device.units[unit].answer(pdu)), HangUp()]
    async with rig.running(one(5, 50, 90, max_in_flight=1) if rig.kind == "pipelined" else one(5, 50, 90), 0.8):
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 3)
    for number in (5, 50, 90):
        assert set(rig.port.values(f"plc.r{number}")) == {1000 + number}
        assert rig.port.qualities(f"plc.r{number}") == {Quality.GOOD}
    assert rig.port.links == [("plc", True, "")]


@NETWORK
async def test_a_write_finds_an_idle_connection_closed_and_is_done_once(rig: Rig) -> None:
    tags = {"a": {"address": "holding:5", "type": "uint16", "write": {}}}
    async with rig.running({"plc": {"unit": 1, "tags": tags}}, 30.0):
        await rig.port.wait(lambda: rig.port.values("plc.a") != [])
        rig.link.cut()
        await until(lambda: not rig.link._open)  # type: ignore[union-attr]
        assert await rig.source.write(0, 7) == 7
    assert sum(seen.pdu[0] == 16 for seen in rig.device.seen) == 1
    assert rig.port.links == [("plc", True, "")]


async def test_a_server_that_accepts_and_hangs_up_is_a_lost_link_without_a_storm(tmp_path: Path) -> None:
    rig = Rig("tcp", tmp_path)
    rig.device.behave = lambda _unit, _pdu: [HangUp()]
    async with rig.running(one(), 0.02):
        await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= 50)
        assert rig.port.qualities("plc.r5") == {Quality.BAD_LINK}
        assert rig.link.connections <= 6  # type: ignore[union-attr]  # supervised: half a second, one, two ...


async def test_an_answer_to_a_request_before_the_reconnect_is_nobodys(tmp_path: Path) -> None:
    """Behind a converter the serial device still answers what was asked on the connection before."""
    rig = Rig("rtu-tcp", tmp_path, timeout="300ms")
    server = rig.link
    assert isinstance(server, FakeServer)
    silent_until = 0.0

    def tell(frame: bytes) -> None:
        for connection in server._open:
            connection.write(frame)

    def converter(unit: int, pdu: bytes) -> list[Action]:
        """The device takes 60 ms for each request, one after the other, and answers whoever is connected then."""
        nonlocal silent_until
        loop = asyncio.get_running_loop()
        silent_until = max(silent_until, loop.time()) + 0.06
        frame = rtu_frame(unit, rig.device.units[unit].answer(pdu))
        loop.call_at(silent_until, tell, frame)
        return [HangUp(0.005)] if len(rig.device.seen) % 4 == 0 else SILENCE

    rig.device.behave = converter
    async with rig.running(one(5, 90), 0.2):
        await rig.port.wait(lambda: len(rig.port.values("plc.r90")) >= 8 and server.connections >= 4, 40.0)
    assert set(rig.port.values("plc.r5")) == {1005}
    assert set(rig.port.values("plc.r90")) == {1090}


async def test_a_host_that_swallows_the_first_packet_ends_within_the_timeout(tmp_path: Path) -> None:
    """A firewall that drops, a full backlog: connecting hangs and nothing says why."""
    rig = Rig("tcp", tmp_path)
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        async with rig.running(one(), 0.05):
            await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
            port, rig.link.port = rig.link.port, deaf.getsockname()[1]  # type: ignore[union-attr]
            rig.source._plan = rig.planned(one(), 0.05)
            rig.link.port = port  # type: ignore[union-attr]
            rig.link.cut()
            await rig.port.wait(lambda: rig.port.links[-1] == ("plc", False, "link"))
            before = len(rig.port.of("plc.r5"))
            await rig.port.wait(lambda: len(rig.port.of("plc.r5")) >= before + 20)
    assert rig.port.qualities("plc.r5") == {Quality.GOOD, Quality.BAD_LINK}


@pytest.mark.parametrize("kind", ["tcp", "pipelined", "rtu-tcp"])
async def test_a_host_name_is_looked_up_again_at_each_connection(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["127.0.0.1"]
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **keys: Any) -> Any:
        return real(addresses[0] if host == "plc.plant.local" else host, *rest, **keys)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    rig = Rig(kind, tmp_path, host="plc.plant.local")
    server = rig.link
    assert isinstance(server, FakeServer)
    async with rig.running(one()):
        await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
        await server.shut()
        addresses[0] = server.host = "127.0.0.2"
        rig.device.units[1].holding[5] = 77
        await server.start()
        await rig.port.wait(lambda: 77 in rig.port.values("plc.r5"))


async def test_an_adapter_that_vanishes_between_two_polls_and_returns_is_opened_again(tmp_path: Path) -> None:
    rig = Rig("rtu", tmp_path)
    async with rig.running(one(), 0.3):
        for _ in range(3):
            rig.port.rows.clear()
            await rig.port.wait(lambda: rig.port.values("plc.r5") != [])
            rig.link.cut()
            await rig.port.wait(lambda: Quality.BAD_LINK in rig.port.qualities("plc.r5"))
            await rig.link.start()
        await rig.port.wait(lambda: rig.port.links[-1] == ("plc", True, ""))
