"""`gateway.codec.decode` at the daemon's speed: small blocks by a compiled kernel, all else by the plain decoder.

Both give the same readings and the same errors. Needs numba to be of use, works without.
"""

from __future__ import annotations

import contextlib
from typing import Final

import numpy as np

from gateway.codec import decoder
from gateway.codec.checked import block_of
from gateway.codec.layout import KNOWN_FLAGS, MAX_ROWS, TEXTS, ZSTD
from gateway.codec.reading import read
from gateway.codec.source import inflated
from gateway.codec.texts import read_texts, read_varint
from gateway.errors import CodecError
from gateway.readings import NO_TEXTS, Readings

_COMPILED: Final = hasattr(read, "signatures")  # uncompiled, the plain decoder is quicker


def decode(data: bytes, start: int = 0) -> Readings:
    """The readings of `encode`, whose prefix was `start` bytes long; CodecError where the bytes are no valid block."""
    body = block_of(data, start)
    found = None
    if _COMPILED:
        with contextlib.suppress(CodecError):  # the plain decoder says what is wrong, as to every receiver
            found = _quick(body, start + 1)
    return decoder.decode(body, start + 1) if found is None else found


def _quick(body: bytes, at: int) -> Readings | None:
    """The readings; None or CodecError where the plain decoder has to look."""
    if at >= len(body):
        return None
    flags = body[at]
    if flags & ~KNOWN_FLAGS:
        return None
    at += 1
    if flags & ZSTD:
        length, at = read_varint(body, at)
        body, at = inflated(body[at:], length), 0
    rows, _ = read_varint(body, at + 2)
    if rows > MAX_ROWS:
        return None
    tag, time_ns = np.empty(rows, np.uint32), np.empty(rows, np.int64)
    bits, quality = np.empty(rows, np.int64), np.empty(rows, np.uint8)
    text = np.full(rows if flags & TEXTS else 0, -1, np.int64)
    at = read(np.frombuffer(body, np.uint8), at, flags, tag, time_ns, bits, quality, text)
    if at < 0:
        return None
    value, texts = bits.view(np.float64), NO_TEXTS
    if flags & TEXTS:
        texts, at = read_texts(body, at)
        of_text = text >= 0
        places = text[of_text]
        if places.size:
            if int(places.max()) >= len(texts):
                raise CodecError("a text that is not in the table")
            value[of_text] = np.array(list(texts), np.float64)[places]
    return Readings(tag, time_ns, value, quality, texts) if at == len(body) else None
