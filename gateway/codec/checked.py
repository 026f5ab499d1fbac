"""The frame every codec shares: a CRC over all that stands before it, and what arrives is checked before it is read."""

from __future__ import annotations

import zlib
from typing import Final

from gateway.codec.layout import VERSION
from gateway.errors import CodecError

CRC_BYTES: Final = 4


def close(body: bytes) -> bytes:
    """The body followed by its CRC-32 (little-endian)."""
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def body_of(data: bytes) -> bytes:
    """What `close` was given; CodecError where a bit differs or the end is missing."""
    if len(data) <= CRC_BYTES:
        raise CodecError("too short")
    body, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if zlib.crc32(body) != int.from_bytes(crc, "little"):
        raise CodecError("checksum does not match")
    return body


def block_of(data: bytes, start: int) -> bytes:
    """The body, in which a block of this codec's version begins at `start`; CodecError."""
    body = body_of(data)
    if start >= len(body):
        raise CodecError("too short")
    if body[start] != VERSION:
        raise CodecError(f"unknown codec version {body[start]}")
    return body
