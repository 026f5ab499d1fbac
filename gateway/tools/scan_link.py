"""A Modbus link for looking around: reads only, gently paced, one repetition after silence."""

from __future__ import annotations

import asyncio
import struct
from typing import Final

import numpy as np

from gateway.errors import LinkError
from gateway.field.modbus import pdu
from gateway.field.modbus.session import Session
from gateway.field.modbus.wire import NoAnswerError, Request
from gateway.tools.scan_map import Values

_BUSY_TRIES: Final = 4
_BUSY_S: Final = 0.2
_TRIES: Final = 2


class Silent:
    """Takes what a wire has to tell about frames, and keeps it to itself."""

    tracing = False

    def late(self, unit: int, seconds: float, timeout_s: float) -> None:
        """A late answer: the wire has dropped it already."""

    def frame(self, unit: int, what: str, data: bytes) -> None:
        """A frame: nobody looks."""


class ScanLink:
    """Reads from the units of a session. `timeout_s` for an answer, `pause_s` of rest before each request.

    A link that breaks (some servers hang up on a unit they don't know) is opened again and counts as silence.
    """

    def __init__(self, session: Session, timeout_s: float, pause_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._pause_s = pause_s

    async def present(self, unit: int) -> bool:
        """Whether a unit answers, be it with an exception; a gateway that finds nobody is no answer, nor is garbage."""
        try:
            await self._ask(unit, pdu.read(3, 0, 1), tries=1)
        except (NoAnswerError, pdu.GarbledError):
            return False
        except pdu.DeviceError as error:
            return error.code not in pdu.UNREACHABLE
        return True

    async def read(self, unit: int, function: int, first: int, count: int) -> Values | int:
        """Registers or bits, or the exception code. NoAnswerError after repeated silence; garbage is refusal 0."""
        try:
            data = await self._ask(unit, pdu.read(function, first, count), tries=_TRIES)
        except pdu.DeviceError as error:
            return error.code
        except pdu.GarbledError:
            return 0
        if function <= 2:
            bits: Values = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:count].tolist()
            return bits
        return list(struct.unpack(f">{count}H", data))

    async def _ask(self, unit: int, request: bytes, tries: int) -> bytes:
        busy = 0
        while True:
            try:
                answer = await self._session.start(Request(unit, request, self._timeout_s, self._pause_s))
                return pdu.payload(request, answer.pdu)
            except NoAnswerError:
                tries -= 1
                if not tries:
                    raise
            except pdu.GarbledError:
                await self._session.recover()
                raise
            except LinkError as error:
                await self._session.recover()
                tries -= 1
                if not tries:
                    raise NoAnswerError(str(error)) from error
            except pdu.DeviceError as error:
                busy += 1
                if error.code not in pdu.BUSY or busy == _BUSY_TRIES:
                    raise
                await asyncio.sleep(_BUSY_S)
