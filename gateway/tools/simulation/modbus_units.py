"""The units of a Modbus connection as register images, each tag of the configuration at its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gateway.field.modbus.address import Address
from gateway.field.modbus.layout import extended
from gateway.field.modbus.settings import ModbusDevice, ModbusTag
from gateway.readings import Mask
from gateway.tools.simulation.plausible import Signal
from gateway.tools.simulation.registers import Image, Table, ranges, to_words

_HALF_MOST = 65_504.0  # the largest float16


@dataclass(frozen=True, eq=False)
class _Slot:
    """One value's place in an image."""

    image: Image
    held: Mapping[Table, Mask]
    place: Address
    tag: ModbusTag
    order: str
    signal: Signal

    def put(self, t: float) -> None:
        """Write the value of time `t`, unless a client wrote one here."""
        table, number, width = self.place.area, self.place.number, self.tag.width
        if self.held[table][number : number + width].any():
            return
        value = self.signal.raw(t)
        if self.place.bit is not None:
            self.image.put_bit(table, number, self.place.bit, bool(value))
        else:
            self.image.put(table, number, self._words(value), writable=self.tag.write is not None)

    def _words(self, value: float | str) -> list[int]:
        tag = self.tag
        if self.place.is_bit_area:
            return [int(bool(value))]
        if tag.type in {"int8", "uint8"}:
            word = self.image.get(self.place.area, self.place.number)[0]
            low = int(value) & 0xFF
            return [word & 0x00FF | low << 8 if self.place.high else word & 0xFF00 | low]
        if tag.type == "float16":
            value = min(max(float(value), -_HALF_MOST), _HALF_MOST)
        return to_words(value, tag.type, self.order, length=tag.length or 0, encoding=tag.encoding or "utf-8")


class ModbusUnits:
    """Images by unit number; `refresh` moves them on. Several devices of one unit share its image."""

    def __init__(self, devices: Mapping[str, ModbusDevice]) -> None:
        self.images: dict[int, Image] = {}
        self._held: dict[int, dict[Table, Mask]] = {}
        self._slots: list[_Slot] = []
        for name, device in devices.items():
            self._add(name, device)
        self.refresh(0.0)
        for device in devices.values():
            _bridge(self.images[device.unit], device.max_gap)

    def refresh(self, t: float) -> None:
        """Give every tag its value of time `t`."""
        for slot in self._slots:
            slot.put(t)

    def _add(self, name: str, device: ModbusDevice) -> None:
        held = self._held.setdefault(
            device.unit, {table: np.zeros(65536, np.bool_) for table in ("coil", "discrete", "holding", "input")}
        )

        def written(table: Table, address: int, count: int) -> None:
            held[table][address : address + count] = True

        image = self.images.setdefault(device.unit, Image(written=written))
        for key, tag in device.tags.items():
            order = tag.order or (extended(device.order, tag.type) if device.order else None) or ""
            for full, place in zip(tag.expand(name, key), tag.places(), strict=True):
                self._slots.append(_Slot(image, held, place, tag, order, Signal(full)))


def _bridge(image: Image, gap: int) -> None:
    """Fill the holes a configuration allows to read across."""
    for table, places in image.tables.items():
        for (_, last), (first, _) in pairwise(ranges(places.defined)):
            if first - last - 1 <= gap:
                image.put(table, last + 1, [0] * (first - last - 1))
