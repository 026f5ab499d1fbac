"""The `columns` message: a header with the message's identity, then the block's readings of one device.

Layout, little-endian, varints as LEB128 (seven bits a byte, lowest first, high bit: more follow):

    u1   version of the message, 1
    u1   flags: 1 = part follows, 2 = gateway follows, 4 = device follows
    u1[8]  hash of the tag dictionary (its 16 hex digits are the last level of the dictionary's topic)
    u1[3]  boot: the daemon's start (6 hex digits)
    varint block
    varint part                          if flag 1
    varint length, UTF-8  gateway        if flag 2
    varint length, UTF-8  device         if flag 4
    ...  readings as in gateway/codec; its CRC covers the header too

(gateway, boot, block, device) is the message's identity: a repeat carries the same four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.codec import decode, encode
from gateway.codec.texts import read_varint, write_varint
from gateway.errors import CodecError
from gateway.readings import Readings

VERSION: Final = 1
PART, GATEWAY, DEVICE = 1, 2, 4
_FIXED: Final = 2 + 8 + 3


@dataclass(frozen=True, slots=True)
class Header:
    """Who a message is. An empty gateway or device doesn't travel (the topic or the tags tell it)."""

    dictionary: str  # TagTable.digest: 16 hex digits
    boot: str  # 6 hex digits
    block: int
    gateway: str = ""
    device: str = ""
    part: int | None = None


def pack(header: Header, readings: Readings) -> bytes:
    """The payload of one message."""
    return encode(readings, pack_header(header))


def pack_header(header: Header) -> bytes:
    """The bytes before the readings."""
    flags = PART * (header.part is not None) | GATEWAY * bool(header.gateway) | DEVICE * bool(header.device)
    parts = [bytes([VERSION, flags]), bytes.fromhex(header.dictionary), bytes.fromhex(header.boot)]
    parts.append(write_varint(header.block))
    if header.part is not None:
        parts.append(write_varint(header.part))
    for name in (header.gateway, header.device):
        if name:
            encoded = name.encode()
            parts += [write_varint(len(encoded)), encoded]
    return b"".join(parts)


def unpack(data: bytes) -> tuple[Header, Readings]:
    """What `pack` was given, rows in the codec's order; CodecError where the bytes are no message."""
    header, at = unpack_header(data)
    return header, decode(data, at)


def unpack_header(data: bytes) -> tuple[Header, int]:
    """The header, not yet checked against the CRC, and where the readings begin; CodecError."""
    if len(data) < _FIXED:
        raise CodecError("too short for a columns message")
    version, flags = data[0], data[1]
    if version != VERSION:
        raise CodecError(f"unknown message version {version}")
    block, at = read_varint(data, _FIXED)
    part = None
    if flags & PART:
        part, at = read_varint(data, at)
    names = {GATEWAY: "", DEVICE: ""}
    for flag in names:
        if flags & flag:
            length, at = read_varint(data, at)
            if length > len(data) - at:
                raise CodecError("a name runs over the end")
            try:
                names[flag] = data[at : at + length].decode()
            except UnicodeDecodeError as error:
                raise CodecError("a name is no UTF-8") from error
            at += length
    return Header(data[2:10].hex(), data[10:13].hex(), block, names[GATEWAY], names[DEVICE], part), at
