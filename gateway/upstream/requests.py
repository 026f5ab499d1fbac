"""Command requests: reading them, and checking a value against its tag. Pure.

Statuses are the contract's words: ok, denied, unknown_tag, out_of_range, bad_type, expired, timeout, failed, mismatch,
bad_request.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from gateway.errors import WriteError
from gateway.readings import INTEGER_LIMITS, Tag, TagTable

MAX_REQUEST: Final = 64 << 10
MAX_WRITES: Final = 100
MAX_ID: Final = 128
MAX_RECORDED: Final = 1000
MAX_INTEGER: Final = 1 << 64
_FLOAT_FORMATS: Final[Mapping[str, str]] = {"float16": "<e", "float32": "<f"}

Value = float | str  # integers and booleans included


class BadRequestError(ValueError):
    """No request: nothing is done. `id` is the one it came with, where it had one."""

    def __init__(self, text: str, identity: str | None = None) -> None:
        super().__init__(text)
        self.id = identity


@dataclass(frozen=True, slots=True)
class Write:
    """One wish, as it came."""

    tag: str
    value: Any


@dataclass(frozen=True, slots=True)
class Request:
    """Writes in the order they shall be done."""

    id: str
    writes: tuple[Write, ...]
    expires_ms: float | None = None


def parse(text: bytes) -> Request:
    """The request of a payload; BadRequestError where it has no id, no writes, or is no JSON object."""
    if len(text) > MAX_REQUEST:
        raise BadRequestError("larger than 64 KiB")
    try:
        body = json.loads(text, parse_constant=_refuse)
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair could never be answered
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequestError("no JSON object")
    identity, writes, expires = body.get("id"), body.get("writes"), body.get("expires")
    if not isinstance(identity, str) or not 0 < len(identity) <= MAX_ID:
        raise BadRequestError("no id (a text of 1 to 128 characters)")
    if not isinstance(writes, list) or not 0 < len(writes) <= MAX_WRITES:
        raise BadRequestError("no writes (a list of 1 to 100)", identity)
    if expires is not None and not is_number(expires):
        raise BadRequestError("expires is no number of milliseconds", identity)
    return Request(identity, tuple(_write(write, identity) for write in writes), expires)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _write(write: Any, identity: str) -> Write:
    if not isinstance(write, dict) or not isinstance(write.get("tag"), str) or "value" not in write:
        raise BadRequestError("a write needs tag and value", identity)
    return Write(write["tag"], write["value"])


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be told again: 1e400 is one to write, and infinity when read."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def recorded(value: Any) -> bool | float | str:
    """A wish's value for log and event: as it came, or as its text where it is nothing a tag could take."""
    if isinstance(value, bool | str) or is_number(value):
        return value  # type: ignore[no-any-return]  # just looked at
    return json.dumps(value, ensure_ascii=False)[:MAX_RECORDED]


def allowed(table: TagTable, write: Write) -> tuple[int, Value]:
    """The tag's index and the value to write, in engineering units; WriteError with the status where it may not be."""
    index = table.find(write.tag)
    if index is None:
        raise WriteError("unknown_tag")
    tag = table[index]
    if tag.write is None:
        raise WriteError("denied")
    value = _typed(tag, write.value)
    if not isinstance(value, str):
        low, high = tag.write.low, tag.write.high
        if (low is not None and value < low) or (high is not None and value > high):
            raise WriteError("out_of_range")
        raw_value(tag, value)
    return index, value


def _typed(tag: Tag, value: Any) -> Value:
    if tag.kind == "text":
        if not isinstance(value, str):
            raise WriteError("bad_type")
        return value
    if tag.kind == "bool":
        if not isinstance(value, bool):
            raise WriteError("bad_type")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WriteError("bad_type")
    if isinstance(value, float) and not math.isfinite(value):
        raise WriteError("out_of_range")
    if tag.kind == "integer":
        if value != int(value):
            raise WriteError("bad_type")
        return int(value)
    return value if abs(value) < MAX_INTEGER else _float(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise WriteError("out_of_range") from error


def raw_value(tag: Tag, value: Value) -> Value:
    """What stands in the device: the nearest raw value; WriteError where the type can't hold it."""
    if isinstance(value, (str, bool)) or tag.type == "bool":
        return value
    if tag.type in INTEGER_LIMITS:
        raw = round((value - tag.offset) / tag.scale) if tag.scaled else int(value)
        low, high = INTEGER_LIMITS[tag.type]
        if not low <= raw <= high:
            raise WriteError("out_of_range")
        return raw
    unscaled = (value - tag.offset) / tag.scale if tag.scaled else float(value)
    pack = _FLOAT_FORMATS.get(tag.type)
    if pack is None:
        return unscaled
    try:
        (raw_float,) = struct.unpack(pack, struct.pack(pack, unscaled))
    except OverflowError as error:
        raise WriteError("out_of_range") from error
    return float(raw_float)


def same(tag: Tag, wanted: Value, readback: Value) -> bool:
    """Whether what was read back is what was written, compared as raw values."""
    if isinstance(wanted, str) or isinstance(readback, str):
        return wanted == readback
    if readback != readback:  # noqa: PLR0124  # NaN: nothing usable was read
        return False
    if tag.kind == "integer":
        return float(wanted) == float(readback)  # beyond 2**53 a float is all the driver can give
    try:
        wanted_raw, readback_raw = raw_value(tag, wanted), raw_value(tag, readback)
    except WriteError:
        return False
    if tag.type == "float64" and tag.scaled:
        return math.isclose(float(wanted_raw), float(readback_raw), rel_tol=1e-12, abs_tol=0.0)
    return wanted_raw == readback_raw


def shown(tag: Tag, value: Value) -> object:
    """A value read back as JSON shows it."""
    if isinstance(value, str):
        return value
    if tag.kind == "bool":
        return bool(value)
    if not math.isfinite(value):
        return None
    return int(value) if tag.kind == "integer" else float(value)
