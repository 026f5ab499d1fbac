"""One device of a PLC as the bus scheduler asks it: planned reads, what the PLC refuses, writes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

import numpy as np

from gateway.errors import WriteError
from gateway.field.contract import FieldContext
from gateway.field.conversion import Conversion, engineering, raw_number
from gateway.field.devices import Device
from gateway.field.s7.decode import S7Decoder, encode
from gateway.field.s7.link import PlcError, S7Link
from gateway.field.s7.plan import Block, Item, item_of, plan, split
from gateway.field.s7.settings import S7Device, S7Tag
from gateway.field.stations import GiveWay
from gateway.readings import Quality, Readings, Tag, TagColumn

RETRY_S: Final = 60.0  # a refused tag is asked for again

log = logging.getLogger(__name__)


class S7Station:
    """See `gateway.field.stations.Station`. All devices of a connection are one PLC, so they share one health."""

    unit = 0

    def __init__(self, device: Device, link: S7Link, context: FieldContext) -> None:
        self.model = device
        self.device = device.name
        self.link, self.context = link, context
        settings: S7Device = device.settings
        self.settings: list[S7Tag] = list(settings.tags.values())
        self.items = [item_of(row, tag) for row, tag in enumerate(self.settings)]
        self.decoder = S7Decoder(self.settings)
        self.conversion = Conversion(device.tags)
        self.refused: dict[int, str] = {}  # reason by row
        self._retry_at = 0.0
        self._blocks: list[Block] = []
        self._planned_for = 0

    @property
    def period_s(self) -> float:
        """The poll interval."""
        return self.model.every

    @property
    def tags(self) -> TagColumn:
        """All tags of the device."""
        return self.model.indices

    def blocks(self) -> list[Block]:
        """The requests of a slot: what isn't refused, planned for the PLC's PDU; each minute the refused ones, too.

        Where everything is refused one tag is still asked for, to see whether the PLC lives.
        """
        now = asyncio.get_running_loop().time()
        if self.refused and now >= self._retry_at:
            self._retry_at = now + RETRY_S
            return self._plan(self.items)
        if self._planned_for != self.link.max_size:
            self.replan()
        return self._blocks or self._plan(self.items[:1])

    def replan(self) -> None:
        """Plan the tags that aren't refused."""
        self._planned_for = self.link.max_size
        self._blocks = self._plan([item for item in self.items if item.row not in self.refused])

    def _plan(self, items: list[Item]) -> list[Block]:
        settings: S7Device = self.model.settings
        return plan(items, settings.max_gap, self.link.max_size)

    def learn(self, refused: dict[int, str], answered: set[int]) -> None:
        """Take over what a slot showed; a log line names the tags refused anew."""
        fresh = {row: why for row, why in refused.items() if row not in self.refused}
        back = [row for row in self.refused if row in answered]
        if not fresh and not back:
            return
        for row, why in fresh.items():
            log.warning(
                "%s: refused by the PLC: %s (%s)", self.model.tags[row].full_name, self.settings[row].address, why
            )
        self.refused = {row: why for row, why in {**self.refused, **refused}.items() if row not in answered}
        self._retry_at = asyncio.get_running_loop().time() + RETRY_S
        self.replan()

    def begin(self) -> S7Poll:
        """The work of a slot."""
        return S7Poll(self)

    async def probe(self) -> None:
        """Read one tag; a refusal shows that the PLC lives, too."""
        item = self.items[0]
        try:
            await self.link.read(item.area, item.block, item.start, 1)
        except PlcError:
            return

    async def write(self, row: int, value: float | str) -> float | str:
        """Write a tag and read it back; WriteError where the type can't hold the value or the PLC refuses."""
        tag, settings, item = self.model.tags[row], self.settings[row], self.items[row]
        data = _encoded(tag, settings, value)
        try:
            if settings.type == "bool":
                await self.link.write_bit(item.area, item.block, item.start, settings.place.bit, on=data != b"\0")
            else:
                await self.link.write(item.area, item.block, item.start, data)
            back = await self.link.read(item.area, item.block, item.start, item.size)
        except PlcError as error:
            raise WriteError("failed", f"{tag.full_name}: {error}") from error
        return self._read_back(row, data, back)

    def _read_back(self, row: int, data: bytes, back: bytes) -> float | str:
        tag, settings, item = self.model.tags[row], self.settings[row], self.items[row]
        raw, quality = np.zeros(len(self.items)), np.zeros(len(self.items), np.uint8)
        texts: dict[int, str] = {}
        self.decoder.decode(Block(*item[:4], (item,)), back, raw, quality, texts)
        number = float(raw[row])
        result = texts.get(int(number), "") if settings.type == "string" else engineering(tag, number)
        same = number == float(data[0]) if settings.type == "bool" else back[: len(data)] == data
        if not same:
            raise WriteError("mismatch", f"{tag.full_name}: the PLC holds {result} now", readback=result)
        return result


def _encoded(tag: Tag, settings: S7Tag, value: float | str) -> bytes:
    if isinstance(value, str) != (settings.type == "string"):
        raise WriteError("bad_type", f"{tag.full_name} takes {'a text' if settings.type == 'string' else 'a number'}")
    try:
        return encode(settings, value if isinstance(value, str) else raw_number(tag, value))
    except ValueError as error:
        raise WriteError("out_of_range", f"{tag.full_name}: {error}") from error


class S7Poll:
    """One slot: see `gateway.field.stations.Poll`."""

    def __init__(self, station: S7Station) -> None:
        self._station = station
        count = len(station.items)
        self._raw, self._time = np.full(count, np.nan), np.zeros(count, np.int64)
        self._quality = np.full(count, Quality.BAD_EXCEPTION, np.uint8)
        self._answered: set[int] = set()
        self._texts: dict[int, str] = {}
        self._open = deque(station.blocks())

    async def attempt(self, give_way: GiveWay) -> bool:
        """Read the open blocks; a refused one is halved until the refused tags are known."""
        station, loop = self._station, asyncio.get_running_loop()
        counters = station.model.counters
        refused: dict[int, str] = {}
        while self._open:
            await give_way()
            block = self._open.popleft()
            sent = loop.time()
            try:
                data = await station.link.read(block.area, block.block, block.start, block.size)
            except PlcError as error:
                counters.errors[Quality.BAD_EXCEPTION.reason] += 1
                self._open.extendleft(reversed(split(block)))
                if len(block.items) == 1:
                    refused[block.items[0].row] = str(error)
                continue
            now = loop.time()
            middle = station.context.clock.utc_of((sent + now) / 2)
            counters.polled(now - sent, middle)
            station.decoder.decode(block, data, self._raw, self._quality, self._texts)
            rows = [item.row for item in block.items]
            self._time[rows] = middle
            self._answered.update(rows)
            if station.model.sink is not None:
                station.model.sink(f"got   {block}: {data.hex(' ')}")
        station.learn(refused, self._answered)
        return True

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        """A row per tag."""
        silent = np.ones(len(self._raw), np.bool_)
        silent[list(self._answered)] = False
        quality = np.where(silent, np.uint8(otherwise), self._quality)
        quality[[row for row in self._station.refused if silent[row]]] = Quality.BAD_EXCEPTION
        times = np.where(silent, time_ns, self._time)
        value, quality = self._station.conversion.apply(np.arange(len(self._raw)), self._raw, quality)
        return Readings(self._station.tags, times, value, quality, self._texts)
