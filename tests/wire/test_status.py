from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar

from gateway.errors import LinkError
from gateway.runtime.status.gate import Limits
from gateway.runtime.status.server import StatusServer
from gateway.runtime.status.settings import StatusSettings
from gateway.runtime.status.stream import STREAMS
from gateway.runtime.supervise import Backoff, supervise
from tests.fakes.status import FakePlant
from tests.fakes.status_client import Client
from tests.fakes.waiting import until

API = [f"/api/v1/{name}" for name in ("health", "devices", "tags", "upstreams", "losses", "events", "openapi.json")]


@pytest.fixture
def plant() -> FakePlant:
    plant = FakePlant(more=1200)
    plant.move(0)
    plant.incident()
    return plant


@pytest.fixture
async def client(plant: FakePlant) -> AsyncIterator[Client]:
    async with (
        StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server,
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as http,
    ):
        yield Client(server, plant, http)


async def test_every_route_of_the_contract(client: Client) -> None:
    for path in ["/", "/healthz", "/metrics", *API]:
        assert (await client.get(path)).status == 200, path
    assert (await client.get("/")).content_type == "text/html"
    assert (await client.get("/metrics")).content_type == "text/plain"
    assert set((await client.json("/api/v1/openapi.json"))["paths"]) == {
        *API,
        "/api/v1/stream",
        "/healthz",
    }


async def test_health_tells_every_device_and_upstream(client: Client) -> None:
    health = await client.json("/healthz")
    assert health["devices"].keys() == {"press", "meter-1", "meter-2", "welder", "line"}
    assert health["upstreams"]["cloud"] == {"up": False, "reason": "connection refused", "since": None}


async def test_strict_health(client: Client) -> None:
    assert (await client.get("/healthz?strict=1")).status == 503
    client.plant.counters.device("meter-2").up = True
    assert (await client.get("/healthz?strict=1")).status == 503
    client.plant.counters.upstream("cloud").up = True
    assert (await client.get("/healthz?strict=1")).status == 200


async def test_a_stalled_task_is_no_health(client: Client) -> None:
    assert (await client.json("/healthz"))["live"] is True
    client.plant.view.stalled = lambda: ["bus press-plc"]
    answer = await client.get("/healthz")
    health = await answer.json()
    assert (answer.status, health["live"]) == (503, False)
    assert health["reasons"][0] == "bus press-plc makes no progress"


async def test_all_tags_or_some(client: Client) -> None:
    everything = await client.json("/api/v1/tags")
    assert everything["total"] == len(everything["tags"]) == 1209
    some = await client.json("/api/v1/tags?device=line&search=zone-11&offset=1&limit=5&trend=1")
    assert some["total"] == 111
    assert [row["name"] for row in some["tags"]] == [f"zone-{n}" for n in (110, 111, 112, 113, 114)]
    assert len(some["tags"][0]["trend"]) == 60


@pytest.mark.parametrize(("offset", "limit"), [(0, 1209), (0, 500), (0, 1000), (209, 1000), (709, 5000), (0, 501)])
async def test_many_tags_are_one_answer(client: Client, offset: int, limit: int) -> None:
    everything = await client.json("/api/v1/tags")
    some = await client.json(f"/api/v1/tags?offset={offset}&limit={limit}")
    assert [row["tag"] for row in some["tags"]] == [row["tag"] for row in everything["tags"][offset:][:limit]]
    assert (some["total"], some["offset"]) == (1209, offset)
    answer = await client.get("/api/v1/tags")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Connection"] == "close"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_slow_readers_of_many_tags_cost_little() -> None:
    plant = FakePlant(more=10_000)
    async with StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view) as server, ClientSession() as http:
        client = Client(server, plant, http)
        readers = []
        for _ in range(8):
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1024)
            writer.write(b"GET /api/v1/tags?trend=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            readers.append((reader, writer))
        assert server._gate is not None
        waiting = server._gate._open
        await until(lambda: len(waiting) == 8 and all(map(held, waiting)))
        assert sum(held(transport) for transport in waiting) < 8 * 500_000
        everything = await client.json("/api/v1/tags")
        assert everything["total"] == len(everything["tags"]) == 10_009
        for _, writer in readers:
            writer.transport.abort()


def held(transport: asyncio.BaseTransport) -> int:
    """Bytes of an answer that its client did not take yet."""
    assert isinstance(transport, asyncio.Transport)
    return transport.get_write_buffer_size()


@pytest.mark.parametrize(
    "query", ["offset=-1", "limit=0", "limit=x", "offset=99999999999", "limit=2000000", "trend=yes"]
)
async def test_wrong_parameters(client: Client, query: str) -> None:
    response = await client.get(f"/api/v1/tags?{query}")
    assert response.status == 400
    assert "error" in await response.json()
    assert (await client.get("/healthz?strict=perhaps")).status == 400


async def test_the_server_is_read_only(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ["/", "/metrics", *API]:
            async with client.http.request(method, client.url + path) as response:
                assert response.status == 405


@pytest.mark.parametrize(
    "path", ["/page/../../settings.py", "/%2e%2e/%2e%2e/etc/passwd", "/page.css/../server.py", "/static/x", "/api/v1/"]
)
async def test_there_are_no_other_files(client: Client, path: str) -> None:
    answer = await client.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_security_headers_on_every_answer(client: Client) -> None:
    for path in ("/", "/healthz", "/metrics", "/nothing", "/api/v1/tags?limit=0"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "aiohttp" not in headers["Server"]


async def events(response: ClientResponse, kinds: set[str]) -> dict[str, Any]:
    """The newest event of each kind, once all were seen."""
    found: dict[str, Any] = {}
    kind = ""
    async with asyncio.timeout(20):
        while not kinds <= found.keys():
            line = (await response.content.readline()).decode().rstrip("\n")
            name, _, text = line.partition(": ")
            if name == "event":
                kind = text
            elif name == "data":
                found[kind] = json.loads(text)
    return found


async def test_the_stream_tells_what_changed(client: Client) -> None:
    async with client.http.get(f"{client.url}/api/v1/stream?device=press&limit=3&trend=1") as stream:
        assert stream.content_type == "text/event-stream"
        every = {"health", "devices", "upstreams", "tags", "losses", "events", "log"}
        first = await events(stream, every)
        assert [row["name"] for row in first["tags"]["tags"]] == ["temperature", "running", "speed"]
        client.plant.incident()
        second = await events(stream, {"losses", "events"})
        assert second["losses"]["total"] == {"missed_tick": 28}
        assert "tags" not in second
        assert "devices" not in second


async def test_streams_are_bounded_and_end_with_the_server(client: Client) -> None:
    streams = [await client.http.get(f"{client.url}/api/v1/stream?limit=1") for _ in range(STREAMS)]
    assert (await client.get("/api/v1/stream")).status == 503
    for stream in streams:
        stream.close()


async def test_silent_clients_are_cut_off_and_others_served(plant: FakePlant) -> None:
    settings = StatusSettings(listen="127.0.0.1:0")
    async with StatusServer(settings, plant.view, Limits(header_s=1.0)) as server, ClientSession() as http:
        client = Client(server, plant, http)
        silent = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(200)]
        for _, writer in silent:
            writer.write(b"GET / HTTP/1.1\r\n")
        assert server.connections <= 64
        assert (await client.get("/healthz")).status == 200
        await until(lambda: server.connections == 0)
        for _, writer in silent:
            writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: localhost\r\n\r\nzz\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 23\r\n\r\na=1&b=2&c=3&d=4&e=5&f=6",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nCookie: gateway_session=\xff\r\n\r\n",
    ],
)
async def test_strange_requests_are_answered_or_cut_off(
    plant: FakePlant, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(header_s=1.0, answer_s=1.0)
    async with (
        StatusServer(StatusSettings(listen="127.0.0.1:0"), plant.view, limits) as server,
        ClientSession() as http,
    ):
        client = Client(server, plant, http)
        answer = await client.raw(data)
        assert not answer or answer.startswith(b"HTTP/1.")
        assert b"Traceback" not in answer
        assert b" 500 " not in answer.split(b"\r\n")[0]
        assert (await client.get("/healthz")).status == 200
    assert "Traceback" not in caplog.text


async def test_one_request_per_connection(client: Client) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    assert (await client.raw(request * 20)).count(b"HTTP/1.1 200 ") == 1


async def test_a_taken_port_is_tried_again(client: Client, plant: FakePlant) -> None:
    second = StatusServer(StatusSettings(listen=f"127.0.0.1:{client.port}"), plant.view)
    with pytest.raises(LinkError, match=r"can't listen on 127\.0\.0\.1:\d+: address already in use$"):
        await second.__aenter__()
    task = asyncio.create_task(supervise("status page", second.run, Backoff(first=0.01, longest=0.02)))
    await client.server.__aexit__()
    async with asyncio.timeout(20):
        await second.listening.wait()
    assert (await client.get("/healthz")).status == 200
    task.cancel()
    await asyncio.wait([task])


async def test_switched_off(plant: FakePlant) -> None:
    await supervise("status page", StatusServer(StatusSettings(listen="none"), plant.view).run)
