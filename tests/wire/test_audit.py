"""The audit log of the whole daemon: what it holds, and that it never stands in the way."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.runtime.audit import verify
from gateway.runtime.control import call, stream
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until

TOKEN = "a-token-of-good-length"  # noqa: S105  # a test's token
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
        every: {every}
        tags:
          count: {{address: holding:0, type: uint32, alarm: {{high: 0}}}}
          setpoint: {{address: holding:30, type: int16, write: {{min: 0, max: 1500}}}}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms}}
upstreams: {{plant: {{broker: "{broker}", commands: true}}}}
status: {{listen: "127.0.0.1:{page}", token: {{file: {folder}/token}}}}
"""


class Site:
    """A PLC, a broker, a free port for the page, and the configuration of all."""

    def __init__(self, folder: Path, plc: CountingPlc, broker: Mosquitto) -> None:
        self.folder, self.plc, self.broker = folder, plc, broker
        self.page = free_port()
        self.file = folder / "gateway.yaml"
        self.log = folder / "audit.log"
        (folder / "token").write_text(TOKEN)
        (folder / "token").chmod(0o600)
        self.configure()

    def configure(self, every: str = "100ms") -> str:
        text = CONFIG.format(plc=self.plc.port, folder=self.folder, broker=self.broker.url, page=self.page, every=every)
        self.file.write_text(text)
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        if not self.log.is_file():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [record for record in found if not kinds or record["kind"] in kinds]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with CountingPlc() as plc:
        with Mosquitto(tmp_path) as broker:
            yield Site(tmp_path, plc, broker)


def body(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in {"seq", "time", "kind", "previous", "hash"}}


async def test_everything_an_auditor_asks_for(site: Site) -> None:
    me = f"control socket (uid {os.getuid()}, {getpass.getuser()})"
    first = site.configure()
    url = f"http://127.0.0.1:{site.page}"
    async with GatewayProcess(site.file) as daemon, ClientSession() as http:
        await daemon.ready()
        await until(lambda: bool(site.records("start")) and listening(site.page))
        for _ in range(30):
            await http.post(f"{url}/login", data={"token": "wrong"})
        assert (await http.get(f"{url}/metrics")).status == 401
        second = site.configure(every="50ms")
        daemon.send(signal.SIGHUP)
        await until(lambda: len(site.records("reload")) == 1)
        site.file.write_text("gateway: {name: cell}\nwrong: 1\n")
        assert (await call(site.socket, "reload"))["result"] == "refused"
        assert (await call(site.socket, "write", {"tag": "press.setpoint", "value": 7}))["status"] == "ok"
        frames = stream(site.socket, "trace", {"device": "press"})
        await anext(frames)
        await frames.aclose()  # type: ignore[attr-defined]  # an async generator, as documented
        await until(lambda: site.plc.reads > 2)
        await call(site.socket, "acknowledge", {"tag": "press.count"})
        await until(lambda: len(site.records("trace")) == 2)
        assert await daemon.end() == 0
    assert verify(site.log).fault == ""
    found = site.records()
    assert (found[0]["kind"], found[-1]["kind"]) == ("start", "stop")
    assert body(found[0])["configuration"] == first
    [applied, refused] = (body(record) for record in site.records("reload"))
    assert applied == {
        "source": "SIGHUP",
        "configuration": second,
        "result": "applied",
        "changed": {"devices": ["press"], "upstreams": []},
    }
    assert (refused["source"], refused["configuration"], refused["result"]) == (me, second, "refused")
    assert refused["changed"] == {"devices": [], "upstreams": []}
    assert "wrong: unknown key" in " ".join(refused["errors"])
    logins = [body(record) for record in site.records("login")]
    assert [login["addresses"] for login in logins] == [["127.0.0.1"], ["127.0.0.1"]]
    assert sum(login["count"] for login in logins) == 30  # refused without a look at the token, too
    request, result = site.records("request", "result")
    assert request["source"] == result["source"] == me
    assert request["writes"] == [{"tag": "press.setpoint", "value": 7}]
    assert [body(record) for record in site.records("trace")] == [
        {"source": me, "device": "press", "trace": "on"},
        {"source": me, "device": "press", "trace": "off"},
    ]
    [acknowledged] = site.records("acknowledge")
    assert body(acknowledged) == {"source": me, "tag": "press.count"}
    assert TOKEN not in site.log.read_text()


async def test_kills_leave_one_chain_and_the_loss_stands_in_it(site: Site) -> None:
    for round_ in range(2):
        async with GatewayProcess(site.file, f"run{round_}") as daemon:
            await daemon.ready()
            await until(lambda n=round_: len(site.records("start")) == n + 1)  # type: ignore[misc]
            await until(lambda n=round_: len(site.records("loss")) >= n)  # type: ignore[misc]
            writing = asyncio.create_task(keep_writing(site))
            await asyncio.sleep(0.1 * round_)
            await daemon.end(signal.SIGKILL)
            writing.cancel()
            await asyncio.wait([writing])
        assert verify(site.log).fault == ""
    with site.log.open("ab") as log:
        log.write(b'{"seq":99,"ti')
    async with GatewayProcess(site.file, "last") as daemon:
        await daemon.ready()
        await until(lambda: bool(torn(site)))
        assert await daemon.end() == 0
    verdict = verify(site.log)
    assert verdict.fault == ""
    assert b'"kind":"torn"' in site.log.read_bytes()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def torn(site: Site) -> list[bytes]:
    return [line for line in site.log.read_bytes().splitlines() if b'"kind":"torn"' in line]


async def keep_writing(site: Site) -> None:
    while True:
        await call(site.socket, "write", {"tag": "press.setpoint", "value": 7})


async def test_a_log_that_cannot_be_written_stops_nothing_but_writes(site: Site) -> None:
    site.log.mkdir()
    with Collector(site.broker.port, "cell/#") as received:
        async with GatewayProcess(site.file) as daemon:
            await daemon.ready()
            before = site.plc.reads
            await until(lambda: site.plc.reads > before + 10)
            assert (await call(site.socket, "write", {"tag": "press.setpoint", "value": 7}))["status"] == "failed"
            before = site.plc.reads
            await until(lambda: site.plc.reads > before + 10)
            await until(lambda: bool(received.payloads("cell/press/data")))
            async with asyncio.timeout(10):
                assert await daemon.end() == 0
    assert site.plc.written == {}
    assert daemon.log.count("the audit log can't be written: ") == 1
