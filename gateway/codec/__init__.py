"""Readings as bytes and back, bit for bit; every block decodes by itself. The first byte is the codec's version.

Rows of one tag keep their order. Rows of different tags may change places against each other.
"""

from __future__ import annotations

from gateway.codec import raw
from gateway.codec.checked import body_of, close
from gateway.errors import CodecError
from gateway.readings import Readings


def encode(readings: Readings, prefix: bytes = b"") -> bytes:
    """`prefix` (a header of the caller's) and the readings behind it, protected together by a CRC at the end."""
    return close(prefix + raw.encode(readings))


def decode(data: bytes, start: int = 0) -> Readings:
    """The readings of `encode`, whose prefix was `start` bytes long; CodecError where the bytes are no valid block."""
    body = body_of(data)
    if start >= len(body):
        raise CodecError("too short")
    if body[start] != raw.VERSION:
        raise CodecError(f"unknown codec version {body[start]}")
    return raw.decode(body, start + 1)


__all__ = ["decode", "encode"]
