"""Readings as bytes and back, bit for bit; every block decodes by itself. The first byte is the codec's version.

Rows come back sorted by tag; rows of one tag keep their order. The format is described byte by byte in
docs/columns-format.md. Decoding needs numpy (and zstandard) alone: numba is loaded by the first
`encode` or `decode_quickly`.
"""

from __future__ import annotations

from gateway.codec import decoder
from gateway.codec.checked import block_of, close
from gateway.readings import Readings


def encode(readings: Readings, prefix: bytes = b"") -> bytes:
    """`prefix` (a header of the caller's) and the readings behind it, protected together by a CRC at the end.

    ValueError above layout.MAX_ROWS readings.
    """
    from gateway.codec import encoder  # noqa: PLC0415  # receivers decode without numba

    return close(prefix + encoder.encode(readings))


def decode(data: bytes, start: int = 0) -> Readings:
    """The readings of `encode`, whose prefix was `start` bytes long; CodecError where the bytes are no valid block."""
    return decoder.decode(block_of(data, start), start + 1)


def decode_quickly(data: bytes, start: int = 0) -> Readings:
    """`decode` for a process that has warmed its kernels: small blocks take a fraction of the time."""
    from gateway.codec import fast  # noqa: PLC0415  # receivers decode without numba

    return fast.decode(data, start)


__all__ = ["decode", "decode_quickly", "encode"]
