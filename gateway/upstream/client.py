"""paho's MQTT client, with its holes closed and its way per message shortened. One object is one connection.

What is overridden is private in paho 2; the wire tests hold every line of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as mqtt
from aiohappyeyeballs import AddrInfoType, start_connection
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode

from gateway.upstream.settings import Endpoint
from gateway.upstream.websocket import WebSocket

# OSError covers DNS, TCP and TLS (ssl.SSLError, socket.gaierror, TimeoutError), KeyError an unset variable of a
# secret, ValueError a host name or a path the libraries refuse.
BROKEN: Final = (OSError, KeyError, ValueError, MQTTException)
READ_BYTES: Final = 1 << 16
WRITE_BYTES: Final = 1 << 17
MAX_PACKET: Final = 4 << 20  # bytes of what a broker may send
EYEBALLS_DELAY_S: Final = 0.25  # RFC 8305


class Client(mqtt.Client):
    """`acknowledged` gets (packet id, reason code) of every PUBACK and must not call back into the client."""

    endpoint: Endpoint
    acknowledged: Callable[[int, int], object]
    _opened: socket.socket | None = None
    _given_up = False
    _ahead = b""
    _used = 0

    @property
    def buffered(self) -> bool:
        """Whether received bytes wait here, where no selector sees them."""
        sock = self._sock
        if sock is None:
            return False
        return self._used < len(self._ahead) or (hasattr(sock, "pending") and bool(sock.pending()))

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho asks for one byte, then another, then the rest: one system call serves many packets.
        if bufsize > MAX_PACKET:  # it would gather any packet, however large
            raise ConnectionError(f"a packet of {bufsize} bytes")
        if self._used >= len(self._ahead):
            self._ahead, self._used = super()._sock_recv(READ_BYTES), 0
        start = self._used
        self._used = min(start + bufsize, len(self._ahead))
        return self._ahead[start : self._used]

    def _packet_write(self) -> MQTTErrorCode:
        # paho sends packet by packet: small ones that wait one behind the other go as one. (It tells of QoS 0
        # packets and of DISCONNECT when they went out, so those go alone.)
        waiting = self._out_packet
        if len(waiting) > 1 and waiting[0]["pos"] == 0:
            run, size = 0, 0
            for packet in waiting:
                if (
                    packet["command"] != mqtt.PUBLISH
                    or packet["qos"] == 0
                    or size + len(packet["packet"]) > WRITE_BYTES
                ):
                    break
                run, size = run + 1, size + len(packet["packet"])
            if run > 1:
                first = waiting[0]
                joined = b"".join(waiting.popleft()["packet"] for _ in range(run))
                waiting.appendleft({**first, "packet": joined, "to_process": len(joined)})
        return super()._packet_write()

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        # paho builds two objects per PUBACK to say what is a byte.
        body = self._in_packet["packet"]
        if cmd != "PUBACK" or len(body) < 2:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        mid = body[0] << 8 | body[1]
        if self._out_messages.pop(mid, None) is not None:
            self._inflight_messages -= 1
            self.acknowledged(mid, body[2] if len(body) > 2 else 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def give_up(self) -> None:
        """End what `connect` waits for in its thread; to be called from another one."""
        self._given_up = True
        opened = self._opened
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _create_socket(self) -> Any:
        # A socket whose TLS or web socket handshake fails would stay open.
        try:
            sock = self._create_socket_connection()
            if self._ssl:
                sock = self._ssl_wrap_socket(sock)
            return WebSocket(sock, self.endpoint) if self.endpoint.websocket else sock
        except BROKEN:
            if self._opened is not None:
                self._opened.close()
            raise

    def _create_socket_connection(self) -> socket.socket:
        # paho tries one address after the other, for seconds each: a dead one must not hold up the living.
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        self._opened = sock = asyncio.run(_connect_any(found, self.connect_timeout))
        if self._given_up:
            raise ConnectionError("given up meanwhile")
        sock.settimeout(self.connect_timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        # paho would try again without the server's name.
        context = self._ssl_context
        if context is None:
            raise ssl.SSLError("no TLS context")
        wrapped = context.wrap_socket(tcp_sock, server_hostname=self.host, do_handshake_on_connect=False)
        self._opened = wrapped
        wrapped.do_handshake()
        return wrapped


async def _connect_any(found: Sequence[AddrInfoType], timeout_s: float) -> socket.socket:
    """The first connection that comes about, IPv6 and IPv4 in turn, each 250 ms after the one before. OSError."""
    try:
        async with asyncio.timeout(timeout_s):
            return await start_connection(found, happy_eyeballs_delay=EYEBALLS_DELAY_S, interleave=1)
    except OSError as error:  # a timeout without a number, or asyncio's words: say what the system says
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
        if number is None:
            raise
        raise OSError(number, os.strerror(number)) from error
