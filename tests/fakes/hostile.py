"""A site with one good device, hostile peers on every other wire, and an eye on what they cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from tests.fakes import babbler
from tests.fakes.babbler import Babbler, BabblingLine
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.waiting import until

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
