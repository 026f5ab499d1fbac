"""The control socket: what people ask of the running daemon on its own machine (reload, write, trace, status).

One JSON object per line, at most 64 KiB. A connection carries one request and then its answers:

    > {"command": "write", "tag": "press.setpoint", "value": 900}
    < {"result": ...}                 the answer, or
    < {"error": "..."}                why there is none
    < {"item": ...}                   a stream sends items until either side closes

The socket belongs to the daemon's user and to nobody else (mode 0600).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.runtime.printable import printable

log = logging.getLogger(__name__)

LINE_LIMIT: Final = 64 * 1024
ANSWER_LIMIT: Final = 64 * 1024 * 1024  # status of a large plant in one line
CONNECTIONS: Final = 8
REQUEST_S: Final = 5.0
_PATH_LIMIT: Final = 107  # bytes of sun_path
_UCRED: Final = struct.Struct("iII")  # pid, uid, gid

Params = Mapping[str, Any]


class ControlError(GatewayError):
    """The request can't be done, or the daemon can't be reached; the text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked, as the kernel tells it."""

    uid: int

    def __str__(self) -> str:
        try:
            return f"control socket (uid {self.uid}, {pwd.getpwuid(self.uid).pw_name})"
        except KeyError:
            return f"control socket (uid {self.uid})"


Answer = Callable[[Params, Caller], Awaitable[Any]]  # JSON-able result; ControlError for the caller's mistake
Stream = Callable[[Params, Caller], AsyncIterator[Any]]  # JSON-able items


class ControlServer:
    """Serves the commands while its `async with` block runs; OSError where the socket can't be made.

    `answers` give one result, `streams` any number of items until the caller hangs up.
    """

    def __init__(self, path: Path, answers: Mapping[str, Answer], streams: Mapping[str, Stream] | None = None) -> None:
        self._path = path
        self._answers = answers
        self._streams = streams or {}
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ControlServer:
        channel = _listening(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=channel, limit=LINE_LIMIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=REQUEST_S)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        try:
            await self._answer(reader, writer)
        except (ConnectionError, TimeoutError):
            log.debug("control socket: the caller hung up")
        except asyncio.CancelledError:
            log.debug("control socket: closing")  # only __aexit__ cancels; asyncio's server would log it as a fault
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                line = await reader.readuntil(b"\n")
            command, params = _parse(line)
            caller = _caller(writer)
            if command in self._streams:
                await _stream(self._streams[command](params, caller), reader, writer)
            elif command in self._answers:
                await _send(writer, {"result": await self._answers[command](params, caller)})
            else:
                raise ControlError(f"unknown command {printable(command, 40)!r}")
        except ControlError as error:
            await _send(writer, {"error": str(error)})
        except asyncio.LimitOverrunError:
            await _send(writer, {"error": f"a request may have {LINE_LIMIT} bytes at most"})
        except asyncio.IncompleteReadError:
            return


def _listening(path: Path) -> socket.socket:
    """A listening socket of mode 0600; a dead daemon's socket is replaced, a living one's is not."""
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, f"the path of a socket may have {_PATH_LIMIT} bytes", str(path))
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)
            else:
                raise OSError(errno.EADDRINUSE, "another daemon listens here", str(path))
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(channel.fileno(), 0o600)  # before bind: the file never has a wider mode
        channel.bind(str(path))
        path.chmod(0o600)
        channel.listen(CONNECTIONS)
    except OSError:
        channel.close()
        raise
    return channel


def _caller(writer: asyncio.StreamWriter) -> Caller:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(credentials)
    return Caller(uid)


def _parse(line: bytes) -> tuple[str, Params]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("the request is no JSON") from error
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise ControlError("the request names no command")
    return request.pop("command"), request


async def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace") + b"\n")
    await writer.drain()


async def _stream(items: AsyncIterator[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send items until they end or the caller hangs up, whichever comes first."""

    async def send() -> None:
        async for item in items:
            await _send(writer, {"item": item})

    sending = asyncio.create_task(send(), name="control-stream")
    hung_up = asyncio.create_task(reader.read(1), name="control-hang-up")
    try:
        await asyncio.wait([sending, hung_up], return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        for task in (sending, hung_up):
            task.cancel()
        await asyncio.wait([sending, hung_up])
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


@contextlib.asynccontextmanager
async def _connected(path: Path, command: str, params: Params) -> AsyncIterator[asyncio.StreamReader]:
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_LIMIT)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(f"no daemon runs here: nobody answers at {path}") from error
    except PermissionError as error:
        raise ControlError(f"{path} may only be used by the daemon's user and root") from error
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from error
    try:
        await _send(writer, {**params, "command": command})
        yield reader
    except ConnectionError as error:
        raise ControlError("the daemon closed the connection") from error
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _receive(reader: asyncio.StreamReader) -> Mapping[str, Any] | None:
    """The next answer; None where the daemon has hung up."""
    try:
        answer = json.loads(line) if (line := await reader.readline()) else None
    except ValueError as error:
        raise ControlError("the daemon's answer is no JSON") from error
    if answer is not None and "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


async def call(path: Path, command: str, params: Params | None = None, timeout_s: float = 30.0) -> Any:
    """The daemon's answer to one command; ControlError with a sentence for the person otherwise."""
    try:
        async with asyncio.timeout(timeout_s), _connected(path, command, params or {}) as reader:
            answer = await _receive(reader)
    except TimeoutError as error:
        raise ControlError(f"the daemon did not answer within {timeout_s:g} s") from error
    if answer is None:
        raise ControlError("the daemon closed the connection without an answer")
    return answer.get("result")


async def stream(path: Path, command: str, params: Params | None = None) -> AsyncIterator[Any]:
    """The items of a streaming command until the daemon ends it; closing the iterator hangs up."""
    async with _connected(path, command, params or {}) as reader:
        while (answer := await _receive(reader)) is not None:
            yield answer.get("item")
