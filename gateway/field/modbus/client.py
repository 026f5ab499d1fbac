"""Modbus RTU through pymodbus, on serial lines and over TCP. The only module that imports pymodbus.

pymodbus builds and sends the requests, checks and takes the answers apart and owns the transport. It is kept without
a will of its own: no retries, no reconnecting, no timer; what it would let through (late answers, foreign frames,
other units and lengths) is sorted out by `Framing` before its parser sees it. Losing the link fails the request in
flight at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU
from pymodbus.transport.serialtransport import SerialTransport
from serial import Serial

from gateway.errors import LinkError
from gateway.field.modbus.frames import READS
from gateway.field.modbus.framing import Found, Late, RtuFraming, Shape, differing, shape
from gateway.field.modbus.pdu import GarbledError, answer_size
from gateway.field.modbus.settings import ModbusRtu, ModbusRtuTcp
from gateway.field.modbus.timing import LineTiming
from gateway.field.modbus.wire import Answer, Listener, NoAnswerError, Request
from gateway.field.serialport import SerialLine, open_port
from gateway.field.sockets import describe, tune

Client = AsyncModbusTcpClient | AsyncModbusSerialClient

_NEVER_S: Final = 1e6  # pymodbus' own timer: ours is always earlier
_MOST_BUFFER: Final = 1 << 16
_BABBLE_S: Final = 1.0  # a line that isn't silent for that long
_STRANGE_S: Final = 1.0  # a line just opened must be silent for its timeout, but no longer than this
_CONVERTER: Final = LineTiming(0.0, 0.002)  # the line behind a converter is not known; t3.5 of 19200 baud
_FUNCTIONS: Final = {
    1: (2, 0),
    2: (2, 0),
    3: (2, 0),
    4: (2, 0),
    5: (0, 8),
    6: (0, 8),
    15: (0, 8),
    16: (0, 8),
    22: (0, 10),
}


class _RawRequest(ModbusPDU):
    """A request whose bytes are ready."""

    def __init__(self, unit: int, pdu: bytes) -> None:
        super().__init__(dev_id=unit)
        self.function_code = pdu[0]
        self._data = pdu[1:]

    def encode(self) -> bytes:
        """The bytes after the function code."""
        return self._data


class _RawAnswer(ModbusPDU):
    """An answer whose bytes are kept as they came."""

    data = b""

    def decode(self, data: bytes) -> None:
        """Keep the bytes after the function code."""
        self.data = data

    def __str__(self) -> str:
        return f"function {self.function_code}"  # pymodbus formats each answer even when it logs nothing


_ANSWERS: Final = [
    type(
        f"_RawAnswer{code}", (_RawAnswer,), {"function_code": code, "rtu_byte_count_pos": place, "rtu_frame_size": size}
    )
    for code, (place, size) in _FUNCTIONS.items()
]


def _pdu(answer: Any) -> bytes:
    if answer.isError():
        return bytes((answer.function_code, answer.exception_code))
    data: bytes = answer.data
    return bytes((answer.function_code,)) + data


class PymodbusWire:
    """One open pymodbus client; one request at a time."""

    def __init__(self, framing: RtuFraming, timing: LineTiming, listener: Listener, timeout_s: float) -> None:
        self._framing = framing
        self._timing = timing
        self._listener = listener
        self._strange_s = min(timeout_s, _STRANGE_S)
        self._client: Client | None = None
        self._request: Request | None = None
        self._sent_ns = self._first_ns = self._last_ns = 0
        self._doubtful_s = 0.0  # silence owed to a request that was given up
        self._given_up_ns = 0
        self._given_up: set[Shape] = set()  # of all requests since the last answer
        self.lost = ""

    async def open(self, client: Client, create: Callable[[], Any] | None, timeout_s: float) -> None:
        """Connect. LinkError says why it can't be done."""
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it dumps frames at ERROR
        self._client = client
        client.set_max_no_responses(10**9)
        client.ctx.max_buffer_size = _MOST_BUFFER
        for answer in _ANSWERS:
            client.register(answer)
        try:
            async with asyncio.timeout(timeout_s):
                # Not client.connect(): that turns every reason into False.
                client.ctx.transport, _ = await (create or client.ctx.call_create)()
        except TimeoutError as error:
            self.close()
            raise LinkError(f"no connection within {timeout_s:g} s") from error
        except (OSError, UnicodeError) as error:
            self.close()
            raise LinkError(describe(error)) from error
        client.ctx.comm_params.timeout_connect = _NEVER_S
        tune(client.ctx.transport, timeout_s)

    def connected(self, up: bool) -> None:
        """Pymodbus' word on the connection."""
        if not up:
            self.lost = self.lost or "connection closed by the other side"
            self._fail(LinkError(self.lost))

    async def settle(self) -> None:
        """What a serial device still answers to a request of before is waited out, within reason."""
        self._given_up_ns = time.monotonic_ns()
        with suppress(GarbledError):  # never silent: each request will say so
            await self._silence(self._strange_s, self._given_up_ns)

    def close(self) -> None:
        """Close the link; the request in flight fails."""
        self.lost = self.lost or "closed"
        self._fail(LinkError(self.lost))
        if self._client is not None:
            self._client.close()

    async def start(self, request: Request) -> Answer:
        """One exchange; a given-up one before it is waited out first where its answer could be mistaken.

        Silence proves little of a device that is slower than twice its timeout. So a read that looks like one given
        up is asked only after another one, of a length that can't be confused with any of them, was answered.
        """
        if request.pdu[0] in READS and shape(request) in self._given_up:
            await self._exchange(differing(request, self._given_up))
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Answer:
        client = self._client
        if client is None or self.lost:
            raise LinkError(self.lost or "not open")
        since_ns = self._given_up_ns if self._doubtful_s else 0
        await self._silence(self._doubtful_s or max(self._timing.silence_s, request.pause_s), since_ns)
        if self.lost:
            raise LinkError(self.lost)
        started_ns = time.monotonic_ns()
        wire_s = self._timing.wire_s(len(request.pdu) + 3, answer_size(request.pdu) + 3)
        self._request, self._first_ns = request, 0
        # Until the answer is here, nobody knows whether one is still to come.
        self._doubtful_s = max(request.timeout_s, 10 * self._timing.silence_s)
        self._given_up.add(shape(request))
        timer = asyncio.get_running_loop().call_later(
            wire_s + request.timeout_s, self._fail, NoAnswerError("no answer")
        )
        try:
            answer = await client.execute(False, _RawRequest(request.unit, request.pdu))
        except ModbusException as error:
            raise LinkError(str(error)) from error
        finally:
            timer.cancel()
            self._framing.give_up()
            self._given_up_ns = time.monotonic_ns()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # wait_for of Python 3.11 swallows it when the answer comes together with it
        self._doubtful_s = 0.0
        self._given_up.clear()
        sent_ns = self._sent_ns + int(self._timing.wire_s(len(request.pdu) + 3, 0) * 1e9)
        return Answer(_pdu(answer), (sent_ns + self._first_ns) // 2, (self._last_ns - started_ns) / 1e9)

    async def _silence(self, wanted_s: float, since_ns: int) -> None:
        """Wait until the line was silent for that long, from an instant on; GarbledError where it never is."""
        begun_ns = time.monotonic_ns()
        while not self.lost:
            now_ns = time.monotonic_ns()
            silent_s = (now_ns - max(self._last_ns, since_ns)) / 1e9
            if silent_s >= wanted_s:
                return
            if now_ns - begun_ns > 1e9 * max(_BABBLE_S, 4 * wanted_s):
                raise GarbledError("the line is never silent: somebody else talks on it")
            await asyncio.sleep(wanted_s - silent_s)

    def traffic(self, sending: bool, data: bytes) -> bytes:
        """Pymodbus' hook for frames sent and bytes received and not yet used; returns what it may go on with."""
        now_ns = time.monotonic_ns()
        request = self._request
        if sending:
            self._sent_ns = now_ns
            if request is not None:
                self._framing.sent(request.unit, request.pdu, data)
                if self._listener.tracing:
                    self._listener.frame(request.unit, "sent", data)
            return data
        self._first_ns = self._first_ns or now_ns
        self._last_ns = now_ns
        if self._client is not None:
            self._client.ctx.recv_buffer = b""  # the framing keeps what is not yet whole
        return self._sorted(data, now_ns)

    def _sorted(self, data: bytes, now_ns: int) -> bytes:
        request = self._request
        unit = -1 if request is None else request.unit
        try:
            found = self._framing.received(data)
        except GarbledError as error:
            self._listener.frame(unit, "stray", data)
            self._fail(error)
            return b""
        if isinstance(found, Found):
            if self._listener.tracing:
                self._listener.frame(unit, "got", found.frame)
            return found.frame
        if isinstance(found, Late) and request is not None:
            self._listener.frame(unit, "late", found.frame)
            seconds = (now_ns - self._sent_ns) / 1e9
            if seconds > request.timeout_s:  # not one that was given up because the gateway stops
                self._listener.late(unit, seconds, request.timeout_s)
        return b""

    def _fail(self, error: Exception) -> None:
        waiting = self._client.ctx.response_future if self._client is not None else None
        if waiting is not None and self._request is not None and not waiting.done():
            waiting.set_exception(error)


async def open_rtu_tcp(settings: ModbusRtuTcp, listener: Listener) -> PymodbusWire:
    """RTU frames over TCP."""
    wire = PymodbusWire(RtuFraming(), _CONVERTER, listener, settings.timeout)
    client = AsyncModbusTcpClient(
        settings.host,
        framer=FramerType.RTU,
        port=settings.port,
        timeout=settings.timeout,
        retries=0,
        reconnect_delay=0,
        trace_packet=wire.traffic,
        trace_connect=wire.connected,
    )
    await wire.open(client, None, settings.timeout)
    return wire


class _PortTransport(SerialTransport):
    """pymodbus' serial transport on a port that is already open: opening may block, so a thread did it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, port: Serial) -> None:
        asyncio.Transport.__init__(self)
        self.async_loop, self.intern_protocol, self.sync_serial = loop, protocol, port
        self.intern_write_buffer = []
        self.poll_task = None

    def intern_write_ready(self) -> None:
        """Write what the kernel takes; pyserial's own write would wait for a wedged adapter."""
        data = b"".join(self.intern_write_buffer)
        try:
            written = os.write(self.sync_serial.fileno(), data)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(exc=error)
            return
        self.intern_write_buffer = [data[written:]] if written < len(data) else []
        if not self.intern_write_buffer:
            self.async_loop.remove_writer(self.sync_serial.fileno())


async def open_serial(settings: ModbusRtu, listener: Listener) -> PymodbusWire:
    """A serial line."""
    wire = PymodbusWire(RtuFraming(), settings.timing(), listener, settings.timeout)
    client = AsyncModbusSerialClient(
        settings.port, retries=0, reconnect_delay=0, trace_packet=wire.traffic, trace_connect=wire.connected
    )
    line = SerialLine(
        settings.port, settings.baudrate, settings.bytesize, settings.parity, settings.stopbits, settings.rs485
    )

    async def create() -> tuple[asyncio.Transport, Any]:
        transport = _PortTransport(asyncio.get_running_loop(), client.ctx, await open_port(line))
        transport.setup()
        return transport, client.ctx

    await wire.open(client, create, max(settings.timeout, 5.0))
    return wire
