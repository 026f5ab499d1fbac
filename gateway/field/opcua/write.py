"""Writing a node: the value in the node's own data type, then read back."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from gateway.errors import WriteError
from gateway.field.conversion import engineering, raw_number
from gateway.field.opcua.session import FOREIGN, Session
from gateway.readings import Tag

_WHOLE: Final = {
    ua.VariantType.SByte: (-(1 << 7), (1 << 7) - 1),
    ua.VariantType.Byte: (0, (1 << 8) - 1),
    ua.VariantType.Int16: (-(1 << 15), (1 << 15) - 1),
    ua.VariantType.UInt16: (0, (1 << 16) - 1),
    ua.VariantType.Int32: (-(1 << 31), (1 << 31) - 1),
    ua.VariantType.UInt32: (0, (1 << 32) - 1),
    ua.VariantType.Int64: (-(1 << 63), (1 << 63) - 1),
    ua.VariantType.UInt64: (0, (1 << 64) - 1),
}
FLOAT_MAX: Final = 3.4028234663852886e38  # the largest binary32 number
_REAL: Final = frozenset({ua.VariantType.Float, ua.VariantType.Double})
_DENIED: Final = frozenset(
    {StatusCodes.BadUserAccessDenied, StatusCodes.BadNotWritable, StatusCodes.BadWriteNotSupported}
)


def variant(kind: ua.VariantType, tag: Tag, value: float | str) -> ua.Variant:
    """An engineering value as the node takes it. WriteError where its type can't hold it."""
    if kind is ua.VariantType.String:
        return ua.Variant(str(value), kind)
    if isinstance(value, str):
        raise WriteError("bad_type", f"{tag.full_name}: the node takes no text")
    raw = raw_number(tag, float(value))
    if kind is ua.VariantType.Boolean:
        return ua.Variant(raw != 0, kind)
    if kind in _REAL:
        if kind is ua.VariantType.Float and abs(raw) > FLOAT_MAX:
            raise WriteError("out_of_range", f"{tag.full_name}: the node holds numbers up to {FLOAT_MAX:g}")
        return ua.Variant(raw, kind)
    if kind not in _WHOLE:
        raise WriteError("bad_type", f"{tag.full_name}: the node's type {kind.name} can't be written")
    whole = round(raw)
    if whole != raw and not tag.scaled:
        raise WriteError("bad_type", f"{tag.full_name}: the node takes whole numbers")
    low, high = _WHOLE[kind]
    if not low <= whole <= high:
        raise WriteError("out_of_range", f"{tag.full_name}: the node holds {low} to {high}")
    return ua.Variant(whole, kind)


async def write_value(session: Session, tag: Tag, value: float | str, timeout_s: float) -> float | str:
    """Write and read back, within the timeout; the engineering value read back. WriteError says what went wrong."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _write(session, tag, value)
    except TimeoutError as error:
        raise WriteError("timeout", f"{tag.full_name}: the server did not answer in {timeout_s:g} s") from error
    except UaStatusCodeError as error:
        status = "denied" if error.code in _DENIED else "failed"
        raise WriteError(status, f"{tag.full_name}: {ua.StatusCode(error.code).name}") from error
    except FOREIGN as error:
        raise WriteError("failed", f"{tag.full_name}: {str(error) or type(error).__name__}") from error


async def _write(session: Session, tag: Tag, value: float | str) -> float | str:
    node = session.node(tag.address)
    if node is None:
        raise WriteError("failed", f"{tag.full_name}: the server does not know the node's namespace")
    kind = await session.client.get_node(node).read_data_type_as_variant_type()
    wanted = variant(kind, tag, value)
    # Status and times are left out: many servers refuse a write that has them.
    request = ua.WriteValue(node, AttributeIds.Value, None, ua.DataValue(wanted, None))
    for status in await session.services.write(ua.WriteParameters([request])):
        status.check()
    answer = (await session.read([node]))[0]
    if answer.StatusCode is not None:
        answer.StatusCode.check()
    return _read_back(tag, kind, wanted.Value, None if answer.Value is None else answer.Value.Value)


def _read_back(tag: Tag, kind: ua.VariantType, wanted: Any, got: Any) -> float | str:
    """The engineering value read back; WriteError mismatch where it isn't what was written."""
    if kind is ua.VariantType.Float and isinstance(got, float):
        wanted = struct.unpack("f", struct.pack("f", wanted))[0]
    if kind is ua.VariantType.String:
        result: float | str = str(got)
    elif isinstance(got, (int, float)):
        result = engineering(tag, float(got))
    else:
        raise WriteError("failed", f"{tag.full_name}: no number comes back")
    if got != wanted:
        raise WriteError("mismatch", f"{tag.full_name}: the server holds {result} now", readback=result)
    return result
