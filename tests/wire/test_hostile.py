"""The whole daemon among peers that mean it no good: nonsense on every wire, floods, slow clients; what it exposes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import ClientError, ClientSession

from tests.fakes import babbler
from tests.fakes.babbler import Babbler, BabblingLine
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until

SECONDS = float(os.environ.get("GATEWAY_FUZZ_SECONDS", "6"))
EVERY_S = 0.05
GROWTH_KIB = 24 * 1024  # buffers of a flood and the arenas behind them; a leak of every flood would be far more
CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press:
        unit: 1
        every: 50ms
        tags:
          count: {{address: holding:0, type: uint32}}
          setpoint: {{address: holding:30, type: int16, write: {{min: 0, max: 1500}}}}
{more}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms, max_size: 16MiB}}
upstreams:
  plant: {{broker: "{broker}", commands: true}}
{upstreams}
status: {{listen: "127.0.0.1:{page}"}}
shutdown_timeout: 200ms
"""
HOSTILE = """
  tcp-line: {{driver: modbus-tcp, host: 127.0.0.1, port: {tcp}, timeout: 100ms, devices: {{tcp: {{unit: 1, every: 20ms, tags: {{v: {{address: holding:0, type: float32}}}}}}}}}}
  rtu-tcp-line: {{driver: modbus-rtu-tcp, host: 127.0.0.1, port: {rtu_tcp}, timeout: 100ms, devices: {{rtu-tcp: {{unit: 1, every: 20ms, tags: {{v: {{address: holding:0, type: float32}}}}}}}}}}
  rtu-line: {{driver: modbus-rtu, port: {rtu}, baudrate: 115200, timeout: 100ms, devices: {{rtu: {{unit: 1, every: 20ms, tags: {{v: {{address: holding:0, type: float32}}}}}}}}}}
  opcua-line: {{driver: opcua, endpoint: "opc.tcp://127.0.0.1:{opcua}", timeout: 1s, devices: {{opcua: {{tags: {{v: {{node: "i=1"}}}}}}}}}}
  s7-line: {{driver: s7, host: 127.0.0.1, port: {s7}, timeout: 300ms, devices: {{s7: {{every: 50ms, tags: {{v: {{address: DB1.DBD0, type: float32}}}}}}}}}}
  text-line:
    driver: line
    tcp: 127.0.0.1:{text}
    terminator: "\\r\\n"
    poll: "W\\r\\n"
    timeout: 100ms
    devices: {{text: {{every: 20ms, pattern: '^ST,GS,(?P<weight>[+-]\\d+\\.\\d+)kg$', tags: {{weight: {{field: weight, type: float64}}}}}}}}
"""  # noqa: E501  # one line per peer reads better


class Site(NamedTuple):
    """Where everything is."""

    folder: Path
    plc: CountingPlc
    broker: Mosquitto
    page: int

    def configure(self, more: str = "", upstreams: str = "") -> Path:
        file = self.folder / "gateway.yaml"
        file.write_text(
            CONFIG.format(
                plc=self.plc.port,
                folder=self.folder,
                broker=self.broker.url,
                page=self.page,
                more=more,
                upstreams=upstreams,
            )
        )
        return file


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
async def site(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[Site]:
    async with CountingPlc() as plc:
        yield Site(tmp_path, plc, broker, free_port())


def rss_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


class Watch:
    """Looks at the good device's reads and at the daemon's memory while something else goes on."""

    def __init__(self, site: Site, daemon: GatewayProcess) -> None:
        self.longest_gap_s = 0.0
        self.rss_kib: list[int] = []
        self._site = site
        self._daemon = daemon

    async def __aenter__(self) -> Watch:
        self._start, self._reads = time.monotonic(), self._site.plc.reads
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self.polls_per_s = (self._site.plc.reads - self._reads) / (time.monotonic() - self._start)

    async def _look(self) -> None:
        seen, since = self._site.plc.reads, time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            if self._site.plc.reads != seen:
                seen, since = self._site.plc.reads, now
            self.longest_gap_s = max(self.longest_gap_s, now - since)
            self.rss_kib.append(rss_kib(self._daemon.pid))

    def growth_kib(self) -> int:
        """How much the second half needed more than the first at most."""
        half = len(self.rss_kib) // 2
        return max(self.rss_kib[half:]) - max(self.rss_kib[:half])


async def health(site: Site) -> int:
    """What the page answers a client of good manners, once it got a place."""
    async with asyncio.timeout(40), ClientSession() as http:
        while True:
            with contextlib.suppress(ClientError):
                async with http.get(f"http://127.0.0.1:{site.page}/healthz") as answer:
                    if answer.status != 503:
                        return answer.status
            await asyncio.sleep(0.1)


async def calm(site: Site, daemon: GatewayProcess) -> Watch:
    """The same for two seconds without an enemy: what this machine does at this moment."""
    before = site.plc.reads
    await until(lambda: site.plc.reads > before + 20)
    async with Watch(site, daemon) as watch:
        await asyncio.sleep(2)
    return watch


def kept_its_period(watch: Watch, before: Watch, share: float = 0.85) -> None:
    """Polls as many as before, none of them much later; a busy machine may cost some."""
    assert watch.polls_per_s > share * before.polls_per_s, (watch.polls_per_s, before.polls_per_s)
    assert watch.longest_gap_s < max(0.6, 3 * before.longest_gap_s)


@contextlib.asynccontextmanager
async def enemies(folder: Path) -> AsyncIterator[tuple[str, str, list[Babbler | BabblingLine]]]:
    """One on each wire: the connections and upstreams that lead to them, and they themselves."""
    async with contextlib.AsyncExitStack() as stack:
        openings = {
            "tcp": babbler.modbus_tcp,
            "rtu_tcp": babbler.modbus_rtu,
            "opcua": babbler.opcua,
            "s7": babbler.s7,
            "text": babbler.lines,
            "mqtt": babbler.mqtt,
        }
        peers = {name: await stack.enter_async_context(Babbler(o, n)) for n, (name, o) in enumerate(openings.items())}
        line = await stack.enter_async_context(BabblingLine(folder / "adapter", babbler.modbus_rtu, 99))
        ports = {name: peer.port for name, peer in peers.items()}
        upstreams = f'  noisy: {{broker: "mqtt://127.0.0.1:{ports["mqtt"]}", commands: true, client_id: noisy}}'
        yield HOSTILE.format(rtu=line.name, **ports), upstreams, [*peers.values(), line]


@pytest.mark.timeout(SECONDS + 120)
async def test_nonsense_on_every_wire_costs_only_itself(site: Site) -> None:
    async with enemies(site.folder) as (more, upstreams, peers):
        calm_file = site.configure()
        async with GatewayProcess(calm_file) as daemon:
            await daemon.ready()
            before = await calm(site, daemon)
            assert await daemon.end() == 0
        async with GatewayProcess(site.configure(more, upstreams), "hostile") as daemon:
            with Collector(site.broker.port, "cell/#") as received:
                await daemon.ready()
                await until(lambda: all(peer.answers > 0 for peer in peers))
                sending = asyncio.create_task(junk_commands(received))
                async with Watch(site, daemon) as watch:
                    await asyncio.sleep(SECONDS)
                sending.cancel()
                await asyncio.wait([sending])
                await served(received)
            assert await daemon.end() == 0
    assert "Traceback" not in daemon.log
    kept_its_period(watch, before)
    assert watch.growth_kib() < GROWTH_KIB
    assert site.plc.written == {30: 7}


async def junk_commands(received: Collector) -> None:
    rng = random.Random(7)
    request = b'{"id":"a1","writes":[{"tag":"press.setpoint","value":900}],"expires":1}'
    while True:
        position = rng.randrange(len(request))
        junk = [rng.randbytes(rng.randrange(200)), request[:position] + rng.randbytes(3) + request[position + 3 :]]
        junk += [b"[" * 5000, b'{"id":"' + b"\\u0000" * 100 + b'","writes":[]}', b'{"id":"b","writes":[{}]}']
        for payload in junk:
            await asyncio.to_thread(received.publish, "cell/command/write", payload)


async def served(received: Collector) -> None:
    """The next right request is carried out, whatever came before it."""
    request = {"id": "the last", "writes": [{"tag": "press.setpoint", "value": 7}]}
    await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())

    def answered() -> bool:
        return any(b'"the last"' in payload for payload in received.payloads("cell/command/result"))

    await until(answered, 40)


@pytest.mark.timeout(120)
async def test_a_flood_of_commands_is_bounded(site: Site) -> None:
    async with GatewayProcess(site.configure()) as daemon:
        with Collector(site.broker.port, "cell/#") as received:
            await daemon.ready()
            before = await calm(site, daemon)
            async with Watch(site, daemon) as watch:
                for number in range(300):
                    request = {"id": f"f{number}", "writes": [{"tag": "press.setpoint", "value": number}]}
                    await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())
            await served(received)
        assert await daemon.end() == 0
    kept_its_period(watch, before)
    assert watch.growth_kib() < GROWTH_KIB
    assert daemon.log.count("\n") < 60


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
        assert await asyncio.to_thread(connections, daemon.pid, site.page) <= 64
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
