from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.runtime.control import CONNECTIONS, LINE_LIMIT, Caller, ControlError, ControlServer, Params, call, stream


async def echo(params: Params, _: Caller) -> object:
    return dict(params)


async def refuse(_: Params, __: Caller) -> object:
    raise ControlError("press.setpoint can't be written")


async def hang(_: Params, __: Caller) -> object:
    await asyncio.Event().wait()
    return None


class Frames:
    """A stream of `count` frames, or an endless one; knows whether it was closed."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.closed = asyncio.Event()

    async def __call__(self, params: Params, _: Caller) -> AsyncIterator[object]:
        try:
            number = 0
            while self.count is None or number < self.count:
                yield {"device": params["device"], "number": number}
                number += 1
                await asyncio.sleep(0)
        finally:
            self.closed.set()


def server(path: Path, frames: Frames | None = None) -> ControlServer:
    return ControlServer(path, {"echo": echo, "refuse": refuse, "hang": hang}, {"trace": frames or Frames(3)})


async def raw(path: Path, data: bytes) -> dict[str, object]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    try:
        async with asyncio.timeout(20):
            answer: dict[str, object] = json.loads(await reader.readline())
            return answer
    finally:
        writer.close()
        await writer.wait_closed()


def mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def test_request_and_answer(path: Path) -> None:
    async with server(path):
        assert await call(path, "echo", {"tag": "press.setpoint", "value": 900.5}) == {
            "tag": "press.setpoint",
            "value": 900.5,
        }


async def test_only_its_user_may_speak(path: Path) -> None:
    async with server(path):
        assert mode(path) == 0o600
    assert mode(path) is None


async def test_the_callers_mistakes_come_back_as_a_sentence(path: Path) -> None:
    async with server(path):
        with pytest.raises(ControlError, match=r"press\.setpoint can't be written"):
            await call(path, "refuse")
        with pytest.raises(ControlError, match="unknown command"):
            await call(path, "format-disk")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"hello\n", "no JSON"),
        (b"[1]\n", "no command"),
        (b'{"command": 5}\n', "no command"),
        (b"[" * 60_000 + b"\n", "no JSON"),
        (b'{"command": "' + b"x" * LINE_LIMIT + b'"}\n', "at most"),
        (b"\xff\xfe\n", "no JSON"),
    ],
)
async def test_foreign_bytes_are_answered_and_the_server_lives(path: Path, data: bytes, error: str) -> None:
    async with server(path):
        assert error in str((await raw(path, data))["error"])
        assert await call(path, "echo", {"a": 1}) == {"a": 1}


async def test_a_stream_ends_by_itself(path: Path) -> None:
    async with server(path):
        items = [item async for item in stream(path, "trace", {"device": "press"})]
    assert items == [{"device": "press", "number": number} for number in range(3)]


async def test_hanging_up_ends_the_stream_in_the_daemon(path: Path) -> None:
    frames = Frames(None)
    async with server(path, frames):
        items = stream(path, "trace", {"device": "press"})
        assert (await anext(items))["number"] == 0
        await items.aclose()  # type: ignore[attr-defined]  # an async generator, as documented
        async with asyncio.timeout(20):
            await frames.closed.wait()


async def test_a_dead_daemons_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    async with server(path):
        assert await call(path, "echo", {}) == {}


async def test_a_living_daemons_socket_is_not(path: Path) -> None:
    async with server(path):
        with pytest.raises(OSError, match="another daemon"):
            await server(path).__aenter__()
        assert await call(path, "echo", {}) == {}


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="bytes"):
        await server(tmp_path / ("x" * 120)).__aenter__()


async def test_no_daemon(path: Path) -> None:
    with pytest.raises(ControlError, match="no daemon runs here"):
        await call(path, "echo")


async def test_connections_are_bounded(path: Path) -> None:
    async with server(path):
        idle = [await asyncio.open_unix_connection(path) for _ in range(CONNECTIONS)]
        reader, writer = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        for _, open_writer in [*idle, (reader, writer)]:
            open_writer.close()
            await open_writer.wait_closed()


async def test_stopping_does_not_wait_for_a_hanging_command(path: Path) -> None:
    async with server(path):
        waiting = asyncio.create_task(call(path, "hang"))
        echoed = await call(path, "echo", {})
        assert echoed == {}
    with pytest.raises(ControlError, match="closed the connection"):
        await waiting


async def test_a_slow_answer_is_given_up(path: Path) -> None:
    async with server(path):
        with pytest.raises(ControlError, match="did not answer"):
            await call(path, "hang", timeout_s=0.05)
