"""What the daemon exposes: a page that two hundred slow clients can't hold up, no other listener, no write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import ClientError, ClientSession

from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.hostile import Site, Watch, calm, enemies, kept_its_period
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
async def site(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[Site]:
    async with CountingPlc() as plc:
        yield Site(tmp_path, plc, broker, free_port())


async def health(site: Site) -> int:
    """What the page answers a client of good manners, once it got a place."""
    async with asyncio.timeout(40), ClientSession() as http:
        while True:
            with contextlib.suppress(ClientError):
                async with http.get(f"http://127.0.0.1:{site.page}/healthz") as answer:
                    if answer.status != 503:
                        return answer.status
            await asyncio.sleep(0.1)


def slow_clients(port: int, sends: bytes, count: int) -> list[socket.socket]:
    found = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(sends)
        found.append(client)
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "sends",
    [
        b"GET / HTTP/1.1\r\nX-Slow: ",  # never ends its header
        b"GET / HTTP/1.1\r\nX: " + b"x" * 17_000,  # beyond 16 KiB
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\nx",  # never ends its body
        b"GET /api/v1/tags?trend=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",  # never reads the answer
        b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["header", "large", "body", "reader", "stream"],
)
async def test_two_hundred_slow_clients_of_the_page(site: Site, sends: bytes) -> None:
    async with GatewayProcess(site.configure()) as daemon:
        await daemon.ready()
        before = await calm(site, daemon)
        clients: list[socket.socket] = []
        async with Watch(site, daemon) as watch:
            for _ in range(4):
                clients += await asyncio.to_thread(slow_clients, site.page, sends, 50)
                await asyncio.sleep(0.5)
        await until(lambda: connections(daemon.pid, site.page) <= 64)  # one that makes room is closed a turn later
        assert max(watch.rss_kib) - watch.rss_kib[0] < 8 * 1024
        kept_its_period(watch, before, 0.6)  # whole requests by the dozen do take processor time
        if b"X-Slow" in sends:
            await until(lambda: connections(daemon.pid, site.page) == 0)
        assert await health(site) == 200  # while they are all still there
        for client in clients:
            client.close()
        assert await daemon.end() == 0
    assert "Traceback" not in daemon.log


class Endpoint(NamedTuple):
    """A row of /proc/PID/net/*: local port, state, whether only this machine reaches it."""

    port: int
    state: str
    loopback: bool


LISTEN, ESTABLISHED = "0A", "01"


def endpoints(pid: int, kind: str) -> list[Endpoint]:
    """The daemon's own sockets, by the inodes of its descriptors."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]]
    found = []
    for row in rows:
        if row[9] in inodes:
            address, port = row[1].split(":")
            loopback = address in {"0100007F", "00000000000000000000000001000000"}
            found.append(Endpoint(int(port, 16), row[3], loopback))
    return found


def connections(pid: int, port: int) -> int:
    return sum(each.port == port and each.state == ESTABLISHED for each in endpoints(pid, "tcp"))


def wait_listening(daemon: GatewayProcess) -> Callable[[], bool]:
    return lambda: any(each.state == LISTEN for each in endpoints(daemon.pid, "tcp"))


async def test_it_listens_on_the_status_address_and_nowhere_else(site: Site) -> None:
    async with (
        enemies(site.folder) as (more, upstreams, _),  # every driver is in use
        GatewayProcess(site.configure(more, upstreams)) as daemon,
    ):
        await daemon.ready()
        await until(wait_listening(daemon))
        listening = [each for kind in ("tcp", "tcp6") for each in endpoints(daemon.pid, kind) if each.state == LISTEN]
        assert listening == [Endpoint(site.page, LISTEN, loopback=True)]
        assert [each for kind in ("udp", "udp6", "raw", "raw6") for each in endpoints(daemon.pid, kind)] == []
        assert await daemon.end() == 0


async def test_without_write_no_write_code_reaches_the_wire(site: Site) -> None:
    """Whatever is asked for, over MQTT or on the machine: a PLC whose tags have no `write:` only sees reads."""
    file = site.configure()
    file.write_text(file.read_text().replace(", write: {min: 0, max: 1500}", ""))
    async with GatewayProcess(file) as daemon:
        with Collector(site.broker.port, "cell/#") as received:
            await daemon.ready()
            await until(lambda: site.plc.reads > 5)
            for number, (tag, value) in enumerate(
                (t, v) for t in ("press.setpoint", "press.count", "press.nothing") for v in (0, 1, True, "x", -1, 1e300)
            ):
                request = {"id": f"w{number}", "writes": [{"tag": tag, "value": value}]}
                await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())
            await until(lambda: len(received.payloads("cell/command/result")) == 18)
        assert await daemon.end() == 0
    answers = [json.loads(payload)["results"][0]["status"] for payload in received.payloads("cell/command/result")]
    assert set(answers) == {"denied", "unknown_tag"}
    assert site.plc.functions == {3}
