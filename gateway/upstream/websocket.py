"""A socket as paho wants one, whose bytes travel in a web socket's binary frames (RFC 6455, MQTT 5 section 6).

paho -> send() -> frame -> socket           socket -> frames -> recv() -> paho
                  pings are answered, a close ends the stream
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gateway.upstream.settings import Endpoint

READ_BYTES: Final = 1 << 16
_DATA: Final = frozenset({Opcode.BINARY, Opcode.CONT})
_WAIT: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WebSocket:
    """Made from a connected socket with a timeout (and its TLS behind it); OSError where the server refuses."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        self._sock = sock
        self._protocol = ClientProtocol(parse_uri(str(endpoint)), subprotocols=[Subprotocol("mqtt")], max_size=None)
        self._received = bytearray()
        self._unsent = bytearray()
        self._framed = 0  # bytes of the caller's that the frame under way holds
        self._shake_hands()

    def _shake_hands(self) -> None:
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        self._sock.sendall(b"".join(protocol.data_to_send()))
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            self._feed()
        if protocol.handshake_exc is not None:
            raise ConnectionError(f"no web socket: {protocol.handshake_exc}")
        self._take_frames()

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end. One of _WAIT's errors where none are there yet."""
        if not self._received and self._protocol.state is State.OPEN:
            self._feed()
            self._take_frames()
        if not self._received and self._protocol.state is State.OPEN:
            raise BlockingIOError
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def send(self, data: bytes) -> int:
        """All of `data` as one frame; where it raises _WAIT's errors the next call must begin with the same bytes."""
        if not self._framed:
            self._framed = len(data)
            self._protocol.send_binary(data)
        self._flush()
        sent, self._framed = self._framed, 0
        return sent

    def pending(self) -> int:
        """Bytes received that no selector sees."""
        ahead = getattr(self._sock, "pending", None)
        return len(self._received) + (ahead() if ahead is not None else 0)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def setblocking(self, blocking: bool) -> None:  # as a socket has it
        """As a socket's."""
        self._sock.setblocking(blocking)

    def close(self) -> None:
        """As a socket's; MQTT has said its goodbye before."""
        self._sock.close()

    def _feed(self) -> None:
        data = self._sock.recv(READ_BYTES)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()

    def _take_frames(self) -> None:
        for event in self._protocol.events_received():
            if getattr(event, "opcode", None) in _DATA:
                self._received += event.data  # type: ignore[union-attr]  # only a frame has an opcode
        try:
            self._flush()  # the answer to a ping or a close
        except _WAIT:
            return  # it goes ahead of the next packet

    def _flush(self) -> None:
        self._unsent += b"".join(self._protocol.data_to_send())
        while self._unsent:
            del self._unsent[: self._sock.send(self._unsent)]
