"""One Modbus device: its fields, its plan, what it refuses.

fields --plan (without what is refused)--> blocks, requests, decoder
   ^------------- Learned, kept in a file -----------'
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from gateway.field.contract import BusPlan
from gateway.field.modbus import pdu
from gateway.field.modbus.address import AREA_OF_FUNCTION, Address
from gateway.field.modbus.decode import Decoder, Field
from gateway.field.modbus.learn import Learned
from gateway.field.modbus.memory import Memory
from gateway.field.modbus.mute import Muted
from gateway.field.modbus.plan import Block, Span, plan
from gateway.field.modbus.scaling import scaling
from gateway.field.modbus.settings import ModbusDevice, ModbusTag
from gateway.field.modbus.wire import Request
from gateway.readings import Quality, TagColumn

log = logging.getLogger(__name__)

RETEST_S: Final = 3600.0
_RETESTS_PER_POLL: Final = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tag of the table lies."""

    name: str  # full
    settings: ModbusTag
    address: Address
    field: Field


def places(plan: BusPlan, device: str) -> dict[int, Place]:
    """A device's values by tag index, in the order of the configuration."""
    settings: ModbusDevice = plan.connection.devices[device]
    found: dict[int, Place] = {}
    for entry, tag in settings.tags.items():
        layout, factors = tag.layout(settings.order), scaling(tag.scale, tag.offset)
        low, top = (None, None) if tag.range is None else (tag.range.min, tag.range.max)
        for name, address in zip(tag.names(entry), tag.places(), strict=True):
            index = plan.table.index(f"{device}.{name}")
            found[index] = Place(
                f"{device}.{name}",
                tag,
                address,
                Field(
                    index,
                    address.function,
                    tag.span(address),
                    layout,
                    address.bit,
                    address.high,
                    tag.encoding or "utf-8",
                    factors,
                    low,
                    top,
                ),
            )
    return found


@dataclass(frozen=True)
class ReadPlan:
    """The requests of a poll and how to read their answers."""

    blocks: tuple[Block, ...]
    requests: Mapping[int, Request]  # by identity of the block
    decoder: Decoder


class Device:
    """A device's settings and its plan in force."""

    def __init__(
        self,
        name: str,
        settings: ModbusDevice,
        places: dict[int, Place],
        timeout_s: float,
        memory: Memory | None,
        worthwhile_gap: int | None = None,  # on a serial line, where a wide gap costs more than a request
    ) -> None:
        self.name = name
        self.settings = settings
        self.places = places
        self.timeout_s = timeout_s
        self._memory = memory
        self._learned = _recall(memory)
        self.muted = Muted()
        self.proven: Block | None = None  # the last one that was answered
        self._turn = 0
        self.in_flight = settings.in_flight
        self._worthwhile_gap = worthwhile_gap
        self._planned = self._learned.version
        self._plan = self._fresh()
        self._retests: deque[Block] = deque()
        self._retest_at: float | None = None

    @cached_property
    def tags(self) -> TagColumn:
        """All tags, in the order of the configuration."""
        return np.fromiter(self.places, np.uint32, len(self.places))

    @property
    def plan(self) -> ReadPlan:
        """The plan that follows from what is known of the device."""
        if self._planned != self._learned.version:
            self._planned = self._learned.version
            self._plan = self._fresh()
        return self._plan

    def _fresh(self) -> ReadPlan:
        blocks = tuple(self._blocks())
        requests = {id(block): self.request(block) for block in blocks}
        return ReadPlan(blocks, requests, self.decoder(blocks))

    def decoder(self, blocks: Iterable[Block]) -> Decoder:
        """A decoder for other blocks than the plan's."""
        return Decoder([place.field for place in self.places.values()], tuple(blocks))

    def _blocks(self) -> list[Block]:
        learned = self._learned
        return [
            block
            for function, wanted in sorted(self.settings.spans().items())
            for block in plan(
                function,
                wanted,
                self.settings.limits(function, self._worthwhile_gap),
                learned.refused.get(function, ()),
                learned.walls(function),
            )
        ]

    def request(self, block: Block) -> Request:
        """The request that reads a block."""
        return self.ask(pdu.read(block.function, block.start, block.count))

    def ask(self, data: bytes) -> Request:
        """A request to this device."""
        return Request(self.settings.unit, data, self.timeout_s, self.settings.pause or 0.0)

    def cheapest(self) -> Block:
        """A block of one value that shows whether the unit answers: one that did, or another one each time."""
        first = self.proven
        if first is None:
            blocks = self.plan.blocks or self._learned.singles()
            first = blocks[self._turn % len(blocks)]
            self._turn += 1
        return Block.of(first.function, first.spans[:1])

    def split(self, block: Block, error: pdu.DeviceError) -> tuple[Block, Block] | None:
        """The device refuses a block: its halves, or None where the last value of it is now left out."""
        known = block.spans[0] in self._learned.refused.get(block.function, ())
        halves = self._learned.split(block)
        if halves is None and not known:
            for name in self._names(block.function, block.spans[0]):
                log.warning("%s: refused by the device: %s", name, error, extra={"device": self.name})
        return halves

    def accepted(self, block: Block) -> None:
        """A value that was refused answers."""
        if block.spans[0] in self._learned.refused.get(block.function, ()):
            self._learned.accepted(block.function, block.spans[0])
            for name in self._names(block.function, block.spans[0]):
                log.info("%s: answers now", name, extra={"device": self.name})

    def _names(self, function: int, span: Span) -> list[str]:
        return [
            f"{place.name} ({place.address})"
            for place in self.places.values()
            if (place.field.function, place.field.span) == (function, span)
        ] or [f"{self.name} {AREA_OF_FUNCTION[function]}:{span.start}"]

    def retests(self, now: float) -> list[Block]:
        """Refused values to try again with this poll; each comes up once an hour. `now` in seconds, any origin."""
        if self._retest_at is None:
            self._retest_at = now + RETEST_S
        elif now >= self._retest_at:
            self._retest_at = now + RETEST_S
            self._retests = deque(self._learned.singles())
        return [self._retests.popleft() for _ in range(min(_RETESTS_PER_POLL, len(self._retests)))]

    def retest(self) -> None:
        """Try everything again from the next poll on (a reload)."""
        self._learned.forget_cuts()
        self.muted.forget()
        self.in_flight = self.settings.in_flight
        self._retests = deque(self._learned.singles())

    def shallower(self) -> bool:
        """A request among several in flight got no answer: ask fewer at once; false where it is one already."""
        if self.in_flight == 1:
            return False
        self.in_flight //= 2
        text = "%s: does not answer all of %d requests at once: %d from now on; max_in_flight should say so"
        log.warning(text, self.name, 2 * self.in_flight, self.in_flight, extra={"device": self.name})
        return True

    def hopeless(self, block: Block, quality: Quality, now: float) -> bool:
        """The device lives but gives no good answer to this request; whether it is left out for a while now."""
        wait = self.muted.failed(block, quality, now)
        if not wait:
            return False
        area = AREA_OF_FUNCTION[block.function]
        text = "%s: %s for %s:%d to %d though it answers others, left out for %.0f s"
        place = (area, block.start, block.stop - 1)
        log.warning(text, self.name, quality.reason, *place, wait, extra={"device": self.name})
        return True

    @property
    def version(self) -> int:
        """Grows with everything learned."""
        return self._learned.version

    def remember(self) -> None:
        """Write down what was learned."""
        if self._memory is not None:
            self._memory.keep(self._learned.to_json())


def _recall(memory: Memory | None) -> Learned:
    try:
        return Learned() if memory is None else Learned.from_json(memory.recall())
    except (ValueError, KeyError, TypeError, AttributeError):
        return Learned()  # torn: it is learned again
