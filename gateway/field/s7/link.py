"""The connection to one PLC. The only module that knows snap7; its errors end here.

A request that is given up in the middle leaves the stream out of step, so every failure but a refusal is a LinkError.
A connection may end while nothing is asked (a firewall on the way): a read opens it once more before it counts as lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import GatewayError, LinkError
from gateway.field.s7.address import Area
from gateway.field.s7.settings import S7Connection

if TYPE_CHECKING:
    from snap7.async_client import AsyncClient

HEADERS: Final = 18  # bytes of a read answer's PDU that are no data
SMALLEST: Final = 240  # PDU every S7 takes
_AREAS: Final[dict[Area, int]] = {"DB": 0x84, "M": 0x83, "I": 0x81, "Q": 0x82}


class PlcError(GatewayError):
    """The PLC refuses a request: no such data block, out of its range, access not allowed. The link is fine."""


class S7Link:
    """Opened by `link()`; one request at a time."""

    def __init__(self, settings: S7Connection) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._trusted = False  # it is opened once more when it is gone

    @property
    def max_size(self) -> int:
        """Bytes one answer can carry."""
        return max(SMALLEST, self._client.pdu_length if self._client is not None else 0) - HEADERS

    @asynccontextmanager
    async def link(self) -> AsyncIterator[None]:
        """The open connection; LinkError says why there is none."""
        await self._connect()
        self._trusted = True
        try:
            yield
        finally:
            await self._disconnect()

    async def _connect(self) -> None:
        try:
            from snap7.async_client import AsyncClient  # noqa: PLC0415  # optional, and only where configured
        except ImportError as error:
            raise LinkError("python-snap7 is not installed: install edge-gateway[s7]") from error
        logging.getLogger("snap7").setLevel(logging.CRITICAL)
        client, settings = AsyncClient(), self._settings
        try:
            async with asyncio.timeout(settings.timeout):
                with _translated(f"{settings.host}:{settings.port}"):
                    await client.connect(settings.host, settings.rack, settings.slot, settings.port)
        except TimeoutError as error:
            raise LinkError(f"{settings.host}:{settings.port}: no answer within {settings.timeout:g} s") from error
        self._client = client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await client.disconnect()

    async def read(self, area: Area, block: int, start: int, size: int) -> bytes:
        """Bytes of an area. PlcError where the PLC refuses, LinkError otherwise."""
        from snap7.type import Area as SnapArea  # noqa: PLC0415

        place = SnapArea(_AREAS[area]), block, start, size
        try:
            data = await self._bounded(self._open().read_area(*place))
        except LinkError:
            if not self._trusted:
                raise
            self._trusted = False
            await self._disconnect()
            await self._connect()
            data = await self._bounded(self._open().read_area(*place))
        self._trusted = True
        return bytes(data)

    async def write(self, area: Area, block: int, start: int, data: bytes) -> None:
        """Write bytes to an area. PlcError where the PLC refuses, LinkError otherwise."""
        from snap7.type import Area as SnapArea  # noqa: PLC0415

        client = self._open()
        await self._bounded(client.write_area(SnapArea(_AREAS[area]), block, start, bytearray(data)))

    async def write_bit(self, area: Area, block: int, byte: int, bit: int, *, on: bool) -> None:
        """Write one bit and nothing else: writing its byte would undo what the PLC changes beside it."""
        from snap7.datatypes import S7Area, S7WordLen  # noqa: PLC0415

        client = self._open()
        request = client.protocol.build_write_request(
            S7Area(_AREAS[area]), block, byte * 8 + bit, S7WordLen.BIT, bytes((on,))
        )
        answer = await self._bounded(client._send_receive(request))  # noqa: SLF001  # there is no public bit write
        with _translated("writing a bit"):
            client.protocol.check_write_response(answer)

    def _open(self) -> AsyncClient:
        if self._client is None:
            raise LinkError("no link")
        return self._client

    async def _bounded(self, request: Any) -> Any:
        try:
            async with asyncio.timeout(self._settings.timeout):
                with _translated("request"):
                    return await request
        except TimeoutError as error:
            raise LinkError(f"no answer within {self._settings.timeout:g} s") from error


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from snap7.error import S7Error, S7ProtocolError  # noqa: PLC0415

    try:
        yield
    except S7ProtocolError as error:
        # An error code of the PLC, in the header or for the item; anything else is an answer out of step.
        refused = error.error_code is not None or "operation failed" in str(error)
        raise (PlcError if refused else LinkError)(f"{what}: {error}") from error
    except (S7Error, OSError, ValueError, IndexError, KeyError) as error:
        raise LinkError(f"{what}: {str(error) or type(error).__name__}") from error
