"""What works in a Modbus configuration but is hardly meant: limits no register holds, writes that overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.field.modbus.settings import ModbusDevice, ModbusTag

Hint = tuple[tuple[str | int, ...], str]  # path below the connection, text


def hints(devices: Mapping[str, ModbusDevice]) -> Iterator[Hint]:
    """Every hint about the devices of one connection."""
    for device, settings in devices.items():
        for name, tag in settings.tags.items():
            yield from _beyond_type(tag, ("devices", device, "tags", name, "write"))
    yield from _overlaps(devices)


def _beyond_type(tag: ModbusTag, place: tuple[str | int, ...]) -> Iterator[Hint]:
    raw = tag.raw_limits()
    if tag.write is None or raw is None:
        return
    low, high = sorted(limit * tag.scale + tag.offset for limit in raw)
    for key, limit in (("min", tag.write.min), ("max", tag.write.max)):
        if limit is not None and not low <= limit <= high:
            yield (*place, key), f"{limit:g} can't be written: {tag.type} here holds {low:g} to {high:g}"


def _overlaps(devices: Mapping[str, ModbusDevice]) -> Iterator[Hint]:
    """Written values that share registers. Bits and bytes are meant to: writing one leaves the others."""
    spans: dict[tuple[object, ...], list[tuple[int, int, str, str]]] = {}
    for device, settings in devices.items():
        for name, tag in settings.tags.items():
            whole = tag.address.bit is None and tag.type not in {"int8", "uint8"}
            if tag.write is not None and whole:
                first = tag.address.number
                end = first + (tag.count or 1) * tag.width
                spans.setdefault((settings.unit, tag.address.area), []).append((first, end, device, name))
    for each in spans.values():
        for (_, end, device, name), (first, _, other, later) in pairwise(sorted(each)):
            if first < end:
                text = f"shares registers with {device}.{name}: writing one changes the other"
                yield ("devices", other, "tags", later, "write"), text
