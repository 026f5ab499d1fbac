"""The message classes of sparkplug_b.proto, typed as far as the generated code allows. Pure."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from gateway.upstream.sparkplug import sparkplug_b_pb2

_classes: Final[dict[str, Any]] = vars(sparkplug_b_pb2)
Payload: Final = _classes["Payload"]
Metric: Final = _classes["Metric"]


def decode(payload: bytes) -> Any:
    """The Payload in the bytes; ValueError where they are none."""
    try:
        return Payload.FromString(payload)
    except DecodeError as error:
        raise ValueError(f"no Sparkplug payload: {error}") from error


def varint(number: int) -> bytes:
    """An unsigned integer as protobuf writes it."""
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | 0x80 if number else digit)
        if not number:
            return bytes(encoded)


def wrap(metrics: bytes, time_ms: int, seq: int | None) -> bytes:
    """A Payload around encoded `metrics` (field 2, repeated): time in ms UTC, and seq where it has one."""
    head = b"\x08" + varint(time_ms) + metrics
    return head if seq is None else head + b"\x18" + varint(seq)
