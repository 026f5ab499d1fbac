"""A Modbus device as the bus scheduler asks it: polls, probes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Final

from gateway.errors import LinkError
from gateway.field.contract import FieldContext
from gateway.field.modbus import pdu
from gateway.field.modbus.device import Device
from gateway.field.modbus.learn import TEACHING
from gateway.field.modbus.pdu import DeviceError, GarbledError
from gateway.field.modbus.plan import Block
from gateway.field.modbus.session import Session
from gateway.field.modbus.wire import Answer, NoAnswerError, Request
from gateway.field.stations import GiveWay, UnitError
from gateway.readings import Quality, Readings, TagColumn

_MOST_SPLITS: Final = 24  # per poll: learning must not stop the bus


class ModbusStation:
    """One device on a session."""

    def __init__(self, device: Device, period_s: float, session: Session, context: FieldContext) -> None:
        self.model = device
        self.device = device.name
        self.unit = device.settings.unit
        self.period_s = period_s
        self.session = session
        self.clock = context.clock
        self.counters = context.counters.device(device.name)

    @property
    def tags(self) -> TagColumn:
        """All tags of the device."""
        return self.model.tags

    def begin(self) -> ModbusPoll:
        """The work of a slot."""
        return ModbusPoll(self)

    async def probe(self) -> None:
        """Read one value; any answer that is no gateway's excuse will do."""
        request = self.model.request(self.model.cheapest())
        await self.session.renew()
        try:
            pdu.payload(request.pdu, (await self.session.start(request)).pdu)
            self.session.answered()
        except NoAnswerError as error:
            raise self.failed(Quality.BAD_TIMEOUT, str(error)) from error
        except GarbledError as error:
            await self.session.recover()
            raise self.failed(Quality.BAD_DECODE, str(error)) from error
        except DeviceError as error:
            if error.code in pdu.UNREACHABLE:
                raise self.failed(Quality.BAD_EXCEPTION, str(error)) from error

    def failed(self, quality: Quality, message: str) -> UnitError:
        """Count a failed request; the error for the scheduler."""
        self.counters.errors[quality.reason] += 1
        return UnitError(quality, message)


class ModbusPoll:
    """One slot: the blocks still open, and what was answered."""

    def __init__(self, station: ModbusStation) -> None:
        self._station = station
        self._device = station.model
        self._version = self._device.version
        self._plan = self._device.plan
        self._again = {id(block): block for block in self._device.retests(time.monotonic())}
        if not self._plan.blocks and not self._again:
            only = self._device.cheapest()  # everything is refused: still see whether the unit lives
            self._again[id(only)] = only
        self._payloads: dict[int, bytes] = {}
        self._times: dict[int, int] = {}
        self._failures: dict[int, Quality] = {}
        self._open: deque[Block] = deque((*self._wanted(), *self._again.values()))
        self._silences = 0  # one after the other
        self._parts: list[Block] = []  # of blocks that were split
        self._gone: set[int] = set()  # blocks that were split or refused
        self._later: list[Block] = []
        self._splits = 0

    def _wanted(self) -> list[Block]:
        """The plan's blocks without those that are hopeless for now."""
        skipped = self._device.muted.skipped(time.monotonic())
        if skipped:
            for block in self._plan.blocks:
                quality = skipped.get((block.function, block.start, block.stop))
                if quality is not None:
                    self._failures[id(block)] = quality
        wanted = [block for block in self._plan.blocks if id(block) not in self._failures]
        return wanted or list(self._plan.blocks)

    async def attempt(self, give_way: GiveWay) -> bool:
        """Ask for the open blocks; see `gateway.field.stations.Poll`."""
        window: deque[tuple[Block, Awaitable[Answer]]] = deque()
        session = self._station.session
        lived = bool(self._payloads)
        trouble: tuple[Quality, str] | None = None
        await session.ready()
        self._open.extend(self._later)
        self._later, self._silences = [], 0
        try:
            while self._open or window:
                if self._open and len(window) < self._device.in_flight:
                    await give_way()
                    block = self._open.popleft()
                    window.append((block, session.start(self._request(block))))
                    continue
                block, pending = window[0]
                try:
                    answer = await pending
                    data = pdu.payload(self._request(block).pdu, answer.pdu)
                except LinkError as error:
                    self._take_back(window)
                    await session.again(error)
                except NoAnswerError as error:
                    window.popleft()
                    if self._silent(block, error):
                        self._take_back(window)
                except GarbledError as error:
                    trouble = Quality.BAD_DECODE, str(error)
                    self._garbled(block)
                    window.popleft()
                    self._take_back(window)
                    await session.recover()
                except DeviceError as error:
                    window.popleft()
                    if error.code in pdu.UNREACHABLE:
                        self._open.appendleft(block)
                        raise self._station.failed(Quality.BAD_EXCEPTION, str(error)) from error
                    lived |= self._refused(block, error)
                    trouble = trouble or (Quality.BAD_EXCEPTION, str(error))
                else:
                    window.popleft()
                    lived = True
                    self._answered(block, data, answer)
        finally:
            self._take_back(window)
        if not lived and trouble is not None:
            raise UnitError(*trouble)
        return not self._later

    def _request(self, block: Block) -> Request:
        return self._plan.requests.get(id(block)) or self._device.request(block)

    def _answered(self, block: Block, data: bytes, answer: Answer) -> None:
        key = id(block)
        self._payloads[key] = data
        time_ns = self._station.clock.utc_ns(answer.time_ns)
        self._times[key] = time_ns
        self._failures.pop(key, None)
        self._silences = 0
        self._device.muted.answered(block)
        self._device.proven = block
        self._station.session.answered()
        self._station.counters.polled(answer.seconds, time_ns)
        if self._again:
            self._device.accepted(block)

    def _silent(self, block: Block, error: NoAnswerError) -> bool:
        """UnitError, unless the unit answers other requests of this slot: then this one is at fault.

        True where too many were in flight: all of them are to be asked again.
        """
        failure = self._station.failed(Quality.BAD_TIMEOUT, str(error))
        self._open.append(block)  # another block goes first next time: it shows whether the unit lives
        if self._payloads and self._device.shallower():
            return True
        self._silences += 1
        if not self._payloads or self._silences > 1:
            raise failure from error
        self._open.pop()
        if not self._device.hopeless(block, Quality.BAD_TIMEOUT, time.monotonic()):
            self._later.append(block)
        self._failures[id(block)] = Quality.BAD_TIMEOUT
        return False

    def _garbled(self, block: Block) -> None:
        """Once is noise: ask again at the end of the cycle. Twice is the answer."""
        self._station.counters.errors["decode"] += 1
        given_up = bool(self._payloads) and self._device.hopeless(block, Quality.BAD_DECODE, time.monotonic())
        if id(block) not in self._failures and not given_up:
            self._later.append(block)
        self._failures[id(block)] = Quality.BAD_DECODE

    def _refused(self, block: Block, error: DeviceError) -> bool:
        """An exception answer; whether it shows that the unit does its work."""
        self._station.counters.errors["exception"] += 1
        if error.code in TEACHING:
            self._split(block, error)
            return True
        if error.code in pdu.BUSY:
            if id(block) not in self._failures:
                self._later.append(block)
            self._failures[id(block)] = Quality.BAD_EXCEPTION
            return True
        self._failures[id(block)] = Quality.BAD_EXCEPTION
        return False

    def _split(self, block: Block, error: DeviceError) -> None:
        halves = self._device.split(block, error)
        self._gone.add(id(block))
        if halves is None:
            return
        self._parts += halves
        self._splits += 1
        if self._splits <= _MOST_SPLITS:
            self._open.extendleft(reversed(halves))
        else:
            self._failures.update((id(half), Quality.BAD_EXCEPTION) for half in halves)

    def _take_back(self, window: deque[tuple[Block, Awaitable[Answer]]]) -> None:
        """Requests without an outcome are open again."""
        while window:
            block, pending = window.pop()
            _drop(pending)
            self._open.appendleft(block)

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        """A row per tag; see `gateway.field.stations.Poll`."""
        blocks, decoder = self._plan.blocks, self._plan.decoder
        if self._device.version != self._version:
            self._device.remember()
        if self._gone or self._again:
            extra = [block for block in self._again.values() if id(block) in self._payloads]
            blocks = tuple(block for block in (*blocks, *self._parts, *extra) if id(block) not in self._gone)
            decoder = self._device.decoder(blocks)
        keys = [id(block) for block in blocks]
        decoded = decoder.decode(
            [self._payloads.get(key) for key in keys],
            [self._times.get(key, time_ns) for key in keys],
            [self._failures.get(key, otherwise) for key in keys],
        )
        if len(decoder.absent) == 0:
            return decoded
        return Readings.join([decoded, Readings.failed(decoder.absent, time_ns, Quality.BAD_EXCEPTION)])


def _drop(pending: Awaitable[Answer]) -> None:
    """Give up an answer that was not awaited to its end."""
    if isinstance(pending, asyncio.Future):
        if not pending.cancel() and not pending.cancelled():
            pending.exception()  # looked at: nobody else will
    elif isinstance(pending, Coroutine):
        pending.close()
