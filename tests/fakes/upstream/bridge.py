"""Web socket servers in front of a broker's TCP port, for a broker without such a listener.

aiohttp as clouds have it behind their load balancers; `websockets` as the strictest reader of the RFC.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from websockets.asyncio.server import ServerConnection, serve

from tests.fakes.upstream.proxy import Proxy


@dataclass
class Bridge:
    """What came by. `proxy` stands between the bridge and the broker, and can cut."""

    url: str
    proxy: Proxy
    paths: list[str] = field(default_factory=list)
    subprotocols: list[str | None] = field(default_factory=list)
    pongs: int = 0
    faults: list[BaseException] = field(default_factory=list)


async def _upwards(reader: asyncio.StreamReader, send: Callable[[bytes], Awaitable[None]], pieces: int) -> None:
    """From the broker: in frames of odd sizes, as no rule binds them to MQTT's packets."""
    while data := await reader.read(1 << 16):
        for start in range(0, len(data), pieces):
            await send(data[start : start + pieces])


@asynccontextmanager
async def aiohttp_bridge(
    broker: int, tls: ssl.SSLContext | None = None, *, pieces: int = 7, heartbeat: float = 0.2
) -> AsyncIterator[Bridge]:
    """aiohttp; it pings, and ends a connection whose pong doesn't come."""
    async with Proxy(broker) as proxy:

        async def talk(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(protocols=("mqtt",), heartbeat=heartbeat)
            await socket.prepare(request)
            bridge.paths.append(request.path_qs)
            bridge.subprotocols.append(socket.ws_protocol)
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)

            async def downwards() -> None:
                with contextlib.suppress(ConnectionError):
                    await _upwards(reader, socket.send_bytes, pieces)
                await socket.close()

            async with asyncio.TaskGroup() as group:
                back = group.create_task(downwards())
                async for message in socket:
                    assert message.type is WSMsgType.BINARY
                    writer.write(message.data)
                back.cancel()
            writer.transport.abort()
            return socket

        application = web.Application()
        application.router.add_get("/{path:.*}", talk)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        bridge = Bridge(f"{'wss' if tls else 'ws'}://localhost:{port}/mqtt", proxy)
        try:
            yield bridge
        finally:
            await runner.cleanup()


@asynccontextmanager
async def strict_bridge(broker: int, *, pieces: int = 7) -> AsyncIterator[Bridge]:
    """`websockets`: it ends a connection on any frame the RFC doesn't allow, and counts the answers to its pings."""
    async with Proxy(broker) as proxy:

        async def talk(socket: ServerConnection) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            try:
                async with asyncio.TaskGroup() as group:
                    back = group.create_task(_upwards(reader, socket.send, pieces))
                    pings = group.create_task(ping(socket))
                    async for message in socket:
                        writer.write(message if isinstance(message, bytes) else message.encode())
                    back.cancel()
                    pings.cancel()
            except* Exception as fault:  # noqa: BLE001  # the test looks at it
                bridge.faults.append(fault)
            finally:
                writer.transport.abort()

        async def ping(socket: ServerConnection) -> None:
            while True:
                answer = await socket.ping()
                await answer
                bridge.pongs += 1
                await asyncio.sleep(0.01)

        async with serve(talk, "127.0.0.1", 0, subprotocols=["mqtt"], ping_interval=None) as server:  # type: ignore[list-item]  # a NewType of str
            port = next(iter(server.sockets)).getsockname()[1]
            bridge = Bridge(f"ws://127.0.0.1:{port}/mqtt", proxy)
            yield bridge
