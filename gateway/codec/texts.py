"""The table of texts: count as a varint, then per text its 52-bit hash (u64 little-endian), length (varint), UTF-8.

A varint is LEB128: seven bits a byte, lowest first, the high bit says that more follow.
"""

from __future__ import annotations

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
        parts += [key.to_bytes(8, "little"), write_varint(len(encoded)), encoded]
    return b"".join(parts)


def read_texts(body: bytes, at: int) -> tuple[Mapping[int, str], int]:
    """The table at `at` and where it ends; CodecError where it runs over the end."""
    count, at = read_varint(body, at)
    if count > len(body) - at:
        raise CodecError("more texts than bytes")
    texts: dict[int, str] = {}
    for _ in range(count):
        key = int.from_bytes(body[at : at + 8], "little")
        length, at = read_varint(body, at + 8)
        if length > len(body) - at:
            raise CodecError("a text runs over the end")
        try:
            texts[key] = body[at : at + length].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise CodecError("a text is no UTF-8") from error
        at += length
    return texts or NO_TEXTS, at
