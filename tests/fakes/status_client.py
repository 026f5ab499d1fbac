"""A client of a running status server, and the plant behind it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientResponse, ClientSession

from gateway.runtime.status.server import StatusServer
from tests.fakes.status import FakePlant


class Client:
    """A running server over a moving plant, and a client for it."""

    def __init__(self, server: StatusServer, plant: FakePlant, http: ClientSession) -> None:
        assert server.address is not None
        self.server, self.plant, self.http = server, plant, http
        self.url = server.address.url
        self.port = server.address.port

    async def get(self, path: str, **keys: Any) -> ClientResponse:
        response = await self.http.get(self.url + path, allow_redirects=False, **keys)
        await response.read()
        return response

    async def json(self, path: str) -> Any:
        response = await self.get(path)
        assert response.status == 200
        return await response.json()

    async def raw(self, data: bytes) -> bytes:
        """What comes back for these bytes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()
