"""Stands between the sockets and the HTTP server, so that slow, silent and greedy clients stay cheap.

    socket --> Guard: whole header within 5 s and 16 KiB --> HTTP handler --> answer within 30 s --> closed

One request per connection. An HTTP handler exists only once a whole header is there; until then a client costs a
buffer. When every place is taken, the client that owes its header the longest makes room for the newcomer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them together, may take."""

    connections: int = 64
    header_bytes: int = 16 * 1024
    header_s: float = 5.0
    body_bytes: int = 8 * 1024
    answer_s: float = 30.0


class Gate:
    """The protocol factory for `loop.create_server`: hands out guarded connections."""

    def __init__(self, handler: Callable[[], asyncio.Protocol], limits: Limits | None = None) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self._open: dict[asyncio.BaseTransport, Guard] = {}  # in order of arrival

    def __call__(self) -> Guard:
        """A protocol for one connection."""
        return Guard(self)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, guard: Guard, transport: asyncio.Transport) -> bool:
        """Whether the connection gets a place; a client that owes its header may lose its own for that."""
        if len(self._open) >= self.limits.connections:
            waiting = next((other for other in self._open.values() if other.waiting), None)
            if waiting is None:
                return False
            waiting.abort()
        self._open[transport] = guard
        return True

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """The connection's place is free again."""
        self._open.pop(transport, None)

    def keep_open(self, transport: asyncio.BaseTransport | None) -> None:
        """The answer on this connection has no end (server-sent events): lift its deadline."""
        guard = self._open.get(transport) if transport is not None else None
        if guard is not None:
            guard.endless()

    def close(self) -> None:
        """Cut every connection off."""
        for guard in list(self._open.values()):
            guard.abort()


class Guard(asyncio.Protocol):
    """One connection: collects the header, then passes everything on to an HTTP handler of its own."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._body = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether the client still owes its header."""
        return self._inner is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or refuse."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # create_server makes no other
        if not self._gate.admit(self, transport):
            transport.write(_refusal("503 Service Unavailable", "Retry-After: 5\r\n"))
            transport.close()
            return
        self._transport = transport
        self._deadline(self._gate.limits.header_s)

    def data_received(self, data: bytes) -> None:
        """Collect the header; what follows it is the body of a form at most."""
        if self._transport is None:
            return
        if self._inner is not None:
            self._body += len(data)
            if self._body > self._gate.limits.body_bytes:
                self.abort()
            else:
                self._inner.data_received(data)
            return
        searched = max(0, len(self._buffer) - len(_END) + 1)
        self._buffer += data
        end = self._buffer.find(_END, searched)
        limits = self._gate.limits
        if end > limits.header_bytes or (end < 0 and len(self._buffer) > limits.header_bytes):
            self._transport.write(_refusal("431 Request Header Fields Too Large"))
            self._transport.close()
        elif end >= 0:
            self._begin(bytes(self._buffer))

    def eof_received(self) -> bool | None:
        """The client will send no more."""
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        """The client reads slowly."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        if self._transport is None:
            return
        self._gate.leave(self._transport)
        self._deadline(None)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def endless(self) -> None:
        """Lift the answer's deadline."""
        self._deadline(None)

    def abort(self) -> None:
        """Cut the client off; its place is free at once."""
        if self._transport is not None:
            self._gate.leave(self._transport)
            self._transport.abort()

    def _begin(self, request: bytes) -> None:
        assert self._transport is not None  # noqa: S101  # only called from data_received
        self._buffer.clear()
        self._deadline(self._gate.limits.answer_s)
        self._inner = self._gate.handler()
        self._inner.connection_made(self._transport)
        self._inner.data_received(request)

    def _deadline(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if seconds is None else loop.call_later(seconds, self.abort)


def _refusal(status: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
