"""One block as the bytes that stand in the database, protected by a CRC over its identity and its data.

Layout, little-endian:

    u1      version of the record, 1
    u1      flags: 1 = events instead of readings, 2 = the clock was synchronised
    u1[3]   boot            u4  number            -> BlockId
    i8      UTC minus CLOCK_BOOTTIME in ns, i8 UTC in ns when it was sealed
    ...     readings as in gateway/codec, or: count u4, per event its length u4 and its JSON; then the CRC

The dictionary and the machine's boot id stand once in a table of their own (`Context`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from gateway import codec
from gateway.block import Block, BlockId, ClockStamp
from gateway.codec.checked import body_of, close
from gateway.errors import CodecError
from gateway.readings import Readings, TagTable

VERSION: Final = 1
_EVENTS, _SYNCHRONISED = 1, 2
_HEAD: Final = struct.Struct("<BB3sIqq")
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What many blocks have in common."""

    table: TagTable
    machine_boot: str


def encode(block: Block) -> bytes:
    """The record of a block."""
    flags = _EVENTS * bool(block.events) | _SYNCHRONISED * block.clock.synchronised
    boot = bytes.fromhex(block.id.boot)
    head = _HEAD.pack(VERSION, flags, boot, block.id.number, block.clock.offset_ns, block.sealed_ns)
    if not block.events:
        return codec.encode(block.readings, head)
    parts = [head, _LENGTH.pack(len(block.events))]
    for event in block.events:
        parts += [_LENGTH.pack(len(event)), event]
    return close(b"".join(parts))


def is_newer(data: bytes) -> bool:
    """Whether a later release wrote this record: it is kept for that release, not delivered."""
    return len(data) > _HEAD.size and data[0] > VERSION


def decode(data: bytes, context: Context, *, quickly: bool = False) -> Block:
    """The block of a record; CodecError where the bytes are damaged or of another version.

    `quickly` is for a process that has warmed its kernels.
    """
    if len(data) <= _HEAD.size or data[0] != VERSION:
        raise CodecError("no record of this version")
    _, flags, boot, number, offset_ns, sealed_ns = _HEAD.unpack_from(data)
    readings, events = Readings.empty(), tuple[bytes, ...]()
    if flags & _EVENTS:
        events = _events(body_of(data))
    else:
        readings = (codec.decode_quickly if quickly else codec.decode)(data, _HEAD.size)
        if len(readings) and int(readings.tag.max()) >= len(context.table):
            raise CodecError("names a tag that its dictionary doesn't have")
    clock = ClockStamp(context.machine_boot, offset_ns, bool(flags & _SYNCHRONISED))
    return Block(BlockId(boot.hex(), number), context.table, readings, events, clock, sealed_ns)


def _events(body: bytes) -> tuple[bytes, ...]:
    count, at, found = *_LENGTH.unpack_from(body, _HEAD.size), _HEAD.size + 4, []
    if count * 4 > len(body) - at:
        raise CodecError("more events than bytes")
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, at) if at + 4 <= len(body) else (len(body),)
        at += 4
        if length > len(body) - at:
            raise CodecError("an event runs over the end")
        found.append(body[at : at + length])
        at += length
    return tuple(found)
