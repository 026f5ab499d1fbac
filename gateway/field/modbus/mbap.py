"""Modbus TCP, one request or several in flight: half of pymodbus' cost, which has a lock round each request.

start() ... start() --one write per loop turn--> device --answers in any order--> futures by transaction number
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable
from typing import Final, cast

from gateway.errors import LinkError
from gateway.field.modbus.frames import mbap_frame, mbap_frames
from gateway.field.modbus.pdu import GarbledError
from gateway.field.modbus.settings import ModbusTcp
from gateway.field.modbus.wire import Answer, Listener, NoAnswerError, Request
from gateway.field.sockets import describe, tune

_MOST_GIVEN_UP: Final = 64  # requests whose late answers are recognised


class _Pending:
    """A request in flight."""

    __slots__ = ("deadline", "future", "request", "sent_ns")

    def __init__(self, request: Request, future: asyncio.Future[Answer], deadline: float) -> None:
        self.request = request
        self.future = future
        self.deadline = deadline
        self.sent_ns = 0


class MbapWire(asyncio.Protocol):
    """One TCP connection; see `gateway.field.modbus.wire.Wire`."""

    def __init__(self, listener: Listener) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._pending: dict[int, _Pending] = {}
        self._given_up: dict[int, _Pending] = {}
        self._unsent: list[tuple[_Pending, bytes]] = []
        self._transaction = 0
        self._last = 0.0  # when something was sent or came
        self._timer: asyncio.TimerHandle | None = None
        self.lost = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")

    def connection_lost(self, exc: Exception | None) -> None:
        """Every request in flight fails at once."""
        reason = describe(exc) if isinstance(exc, OSError) else "connection closed by the other side"
        self.lost = self.lost or reason
        self._fail_all(LinkError(self.lost))

    def start(self, request: Request) -> Awaitable[Answer]:
        """Queue a request; the future of its answer."""
        if request.pause_s:
            return self._paused(request)
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self.lost or self._transport is None:
            future.set_exception(LinkError(self.lost or "not open"))
            return future
        pending = _Pending(request, future, self._loop.time() + request.timeout_s)
        transaction = self._next()
        self._pending[transaction] = pending
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append((pending, mbap_frame(transaction, request.unit, request.pdu)))
        if self._timer is None:
            self._timer = self._loop.call_at(pending.deadline, self._expire)
        return future

    async def _paused(self, request: Request) -> Answer:
        await asyncio.sleep(self._last + request.pause_s - self._loop.time())
        return await self.start(request._replace(pause_s=0.0))

    def _next(self) -> int:
        while True:
            self._transaction = self._transaction % 0xFFFF + 1
            if self._transaction not in self._pending:
                self._given_up.pop(self._transaction, None)
                return self._transaction

    def _flush(self) -> None:
        batch, self._unsent = self._unsent, []
        if self._transport is None or self.lost:
            return
        self._last = self._loop.time()
        self._transport.write(batch[0][1] if len(batch) == 1 else b"".join([frame for _, frame in batch]))
        now_ns = time.monotonic_ns()
        for pending, frame in batch:
            pending.sent_ns = now_ns
            if self._listener.tracing:
                self._listener.frame(pending.request.unit, "sent", frame)

    def data_received(self, data: bytes) -> None:
        """Hand each whole answer to its future."""
        now_ns, self._last = time.monotonic_ns(), self._loop.time()
        self._buffer += data
        try:
            for frame in mbap_frames(self._buffer):
                self._take(frame.transaction, frame.unit, frame.pdu, now_ns)
        except GarbledError as error:
            self._listener.frame(-1, "stray", bytes(self._buffer))
            self._buffer.clear()
            self._fail_oldest(error)
        if self._pending and self._socket is not None:
            # A server with Nagle's algorithm holds its next answer until this one is acknowledged: up to 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _take(self, transaction: int, unit: int, pdu: bytes, now_ns: int) -> None:
        pending = self._pending.pop(transaction, None)
        if pending is None:
            self._take_late(transaction, unit, pdu, now_ns)
            return
        if self._listener.tracing:
            self._listener.frame(unit, "got", mbap_frame(transaction, unit, pdu))
        if pending.future.done():
            return
        if unit != pending.request.unit:
            pending.future.set_exception(GarbledError(f"unit {unit} answered for unit {pending.request.unit}"))
            return
        took_ns = now_ns - pending.sent_ns
        pending.future.set_result(Answer(pdu, pending.sent_ns + took_ns // 2, took_ns / 1e9))

    def _take_late(self, transaction: int, unit: int, pdu: bytes, now_ns: int) -> None:
        pending = self._given_up.pop(transaction, None)
        if pending is None:
            raise GarbledError(f"transaction {transaction} was never asked")
        self._listener.frame(unit, "late", mbap_frame(transaction, unit, pdu))
        self._listener.late(unit, (now_ns - pending.sent_ns) / 1e9, pending.request.timeout_s)

    def _expire(self) -> None:
        """Give up what is overdue; requests stand in the order of their deadlines."""
        self._timer = None
        now = self._loop.time()
        for transaction, pending in list(self._pending.items()):
            if pending.deadline > now:
                self._timer = self._loop.call_at(pending.deadline, self._expire)
                return
            del self._pending[transaction]
            self._given_up[transaction] = pending
            if len(self._given_up) > _MOST_GIVEN_UP:
                del self._given_up[next(iter(self._given_up))]
            if not pending.future.done():
                pending.future.set_exception(NoAnswerError("no answer"))

    def _fail_oldest(self, error: GarbledError) -> None:
        """Out of step for good: one request says so, its owner comes back for the others on a new connection."""
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(error)
                return

    def _fail_all(self, error: LinkError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._pending = self._pending, {}
        for pending in waiting.values():
            if not pending.future.done():
                pending.future.set_exception(error)

    async def settle(self) -> None:
        """Nothing to wait for: a server answers on the connection it was asked on."""

    def close(self) -> None:
        """Close at once; requests in flight fail."""
        self.lost = self.lost or "closed"
        self._fail_all(LinkError(self.lost))
        if self._transport is not None:
            self._transport.abort()


async def open_tcp(settings: ModbusTcp, listener: Listener) -> MbapWire:
    """Connect; LinkError says why it can't be done."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.timeout):
            transport, wire = await loop.create_connection(lambda: MbapWire(listener), settings.host, settings.port)
    except TimeoutError as error:
        raise LinkError(f"no connection within {settings.timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        raise LinkError(describe(error)) from error
    tune(transport, settings.timeout)
    return wire
