"""Texts by their hash: their number, then per text twice its length in bytes (varint) and the text as UTF-8.

Where a text's key is not the hash of its bytes (readings.text_hash), 1 is added to the doubled length and the key
stands before the text, u8 little-endian. Sorted by key.

A varint is LEB128: seven bits a byte, lowest first, the high bit says that more follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gateway.errors import CodecError
from gateway.readings import NO_TEXTS


def write_varint(number: int) -> bytes:
    """An unsigned number."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where the next thing stands; CodecError where it doesn't end in 64 bits."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(body):
            raise CodecError("ends in a number")
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise CodecError("a number is too long")


def write_texts(texts: Mapping[int, str]) -> bytes:
    """The table, sorted by hash."""
    parts = [write_varint(len(texts))]
    for key, text in sorted(texts.items()):
        encoded = text.encode("utf-8", "surrogatepass")
        own = _hash(encoded) != key
        parts.append(write_varint(len(encoded) << 1 | own))
        if own:
            parts.append(key.to_bytes(8, "little"))
        parts.append(encoded)
    return b"".join(parts)


def read_texts(body: bytes, at: int) -> tuple[Mapping[int, str], int]:
    """The table at `at`, sorted by hash, and where it ends; CodecError where it runs over the end."""
    count, at = read_varint(body, at)
    if count > len(body) - at:
        raise CodecError("more texts than bytes")
    texts: dict[int, str] = {}
    for _ in range(count):
        length, at = read_varint(body, at)
        own, length = length & 1, length >> 1
        if length + 8 * own > len(body) - at:
            raise CodecError("a text runs over the end")
        encoded = body[at + 8 * own : at + 8 * own + length]
        key = int.from_bytes(body[at : at + 8], "little") if own else _hash(encoded)
        try:
            texts[key] = encoded.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise CodecError("a text is no UTF-8") from error
        at += 8 * own + length
    return texts or NO_TEXTS, at


def _hash(encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big") >> 12
