"""One MQTT message as the payload formats build it, its MQTT 5 properties, and its size on the wire. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NO_PROPERTIES: Final = b"\x00"


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. `properties` are packed with their length, as `pack_properties` gives them."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    properties: bytes = NO_PROPERTIES
    readings: int = 0  # how many readings the payload holds

    @property
    def size(self) -> int:
        """Bytes of the PUBLISH packet, at most (MQTT 5, section 3.3)."""
        return len(self.payload) + overhead(self.topic, self.properties)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from the broker."""

    topic: str
    payload: bytes
    retain: bool
    response_topic: str = ""
    correlation: bytes | None = None
    qos: int = 0
    mid: int = 0


def overhead(topic: str, properties: bytes) -> int:
    """Bytes of a PUBLISH packet beside its payload: type, length (at most 4), topic, packet id, properties."""
    return 1 + 4 + 2 + len(topic.encode()) + 2 + len(properties)


def pack_properties(
    user: Iterable[tuple[str, str]] = (),
    *,
    expiry_s: int | None = None,
    content_type: str = "",
    correlation: bytes | None = None,
) -> bytes:
    """PUBLISH properties of MQTT 5 (section 2.2.2), packed, behind their variable length."""
    body = bytearray()
    if expiry_s is not None:
        body += b"\x02" + struct.pack("!I", expiry_s)
    if content_type:
        body += b"\x03" + _string(content_type.encode())
    if correlation is not None:
        body += b"\x09" + _string(correlation)
    for name, value in user:
        body += b"\x26" + _string(name.encode()) + _string(value.encode())
    return _varint(len(body)) + bytes(body)


def _string(text: bytes) -> bytes:
    return struct.pack("!H", len(text)) + text


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | 0x80 if number else digit)
        if not number:
            return bytes(encoded)
