"""NCMD and DCMD payloads -> a rebirth request and writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.upstream.sparkplug.birth import REBIRTH
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.datatypes import Datatype, signed
from gateway.upstream.sparkplug.proto import decode


@dataclass(slots=True)
class Orders:
    """What a command message asks for. `writes`: metric index (None: unknown), the tag's full name, the value."""

    rebirth: bool = False
    writes: list[tuple[int | None, str, Any]] = field(default_factory=list)


def orders(device: str, payload: bytes, catalog: Catalog) -> Orders:
    """Read an NCMD (`device` empty) or DCMD; ValueError where it is no Sparkplug payload."""
    found = Orders()
    for metric in decode(payload).metrics:
        if not device and metric.name == REBIRTH:
            found.rebirth |= metric.WhichOneof("value") == "boolean_value" and metric.boolean_value
            continue
        index = catalog.by_name(device, metric.name) if metric.name else catalog.by_alias(metric.alias)
        if index is not None and catalog.tags[index].device != device:
            index = None
        if index is None:
            name = metric.name or f"alias {metric.alias}"
            found.writes.append((None, f"{device}.{name}" if device else name, _value(metric, metric.datatype)))
        else:
            kind = metric.datatype or catalog.datatypes[index]
            found.writes.append((index, catalog.tags[index].full_name, _value(metric, kind)))
    return found


def _value(metric: Any, kind: int) -> Any:
    """The value as Python has it; None where there is none a tag could take."""
    where = metric.WhichOneof("value")
    if where is None or metric.is_null:
        return None
    value = getattr(metric, where)
    if where in {"int_value", "long_value"}:
        if kind == Datatype.INT64 and where == "int_value":
            return value  # UInt32 in the narrow field
        return signed(value, kind)
    return value if isinstance(value, (bool, float, str)) else None
