"""A known secret shows nowhere, whatever is asked and whatever goes wrong; what is no secret is taken for none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession

from gateway.runtime.control import ControlError, call, stream
from gateway.tools.pki import create
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until

RIGHT, WRONG, TOKEN, CREDENTIAL, ENVIRONMENT = (f"known-secret-{word}-7f3a" for word in "abcde")
FILES = {"mqtt": RIGHT, "wrong": WRONG, "token": TOKEN, "x_opcua": CREDENTIAL}
CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices: {{press: {{unit: 1, every: 100ms, tags: {{count: {{address: holding:0, type: uint32}}}}}}}}
  robot:
    driver: opcua
    endpoint: opc.tcp://127.0.0.1:9
    security: {{certificate: {folder}/own.der, private_key: {folder}/own.pem, server_certificate: {folder}/own.der}}
    username: gateway
    password: {{credential: x_opcua}}
    devices: {{welder: {{tags: {{current: {{node: "ns=2;s=Current"}}}}}}}}
spool: {{path: {folder}/spool.db}}
upstreams:
  good: {{broker: "{broker}", username: cell, password: {{file: {folder}/mqtt}}, commands: true}}
  bad: {{broker: "{broker}", client_id: other, username: cell, password: {{file: {folder}/wrong}}}}
  env: {{broker: "{broker}", client_id: third, username: cell, password: {{env: KNOWN_SECRET}}}}
status: {{listen: "127.0.0.1:{page}", token: {{file: {folder}/token}}}}
shutdown_timeout: 200ms
log: {{level: debug}}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with every secret, and the keys of an OPC UA client."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("KNOWN_SECRET", ENVIRONMENT)
    create(tmp_path, "urn:tests:gateway")
    mosquitto_passwd = ["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "cell", RIGHT]
    subprocess.run(mosquitto_passwd, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
async def site(files: Path) -> AsyncIterator[Site]:
    page = free_port()
    with Mosquitto(files, [f"password_file {files / 'passwords'}"], anonymous=False) as broker:
        async with CountingPlc() as plc:
            site = Site(files, broker, page)
            site.configure(CONFIG.format(plc=plc.port, folder=files, broker=broker.url, page=page))
            yield site


class Site(NamedTuple):
    """A folder with the configuration and all files, a broker, the port of the page."""

    folder: Path
    broker: Mosquitto
    page: int

    @property
    def file(self) -> Path:
        return self.folder / "gateway.yaml"

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def configure(self, text: str) -> None:
        self.file.write_text(text)

    def replaced(self, old: str, new: str) -> str:
        text = self.file.read_text()
        assert old in text
        return text.replace(old, new)


async def everything_served(site: Site) -> str:
    """All that HTTP and the control socket tell, with and without the token, right and wrong."""
    texts: list[str] = []
    url, bearer = f"http://127.0.0.1:{site.page}", {"Authorization": f"Bearer {TOKEN}"}
    paths = ["/", "/healthz", "/metrics", "/page.js", "/login", "/nothing"]
    paths += [f"/api/v1/{name}" for name in ("health", "devices", "tags", "upstreams", "losses", "events")]
    async with ClientSession() as http:
        for headers in ({}, bearer, {"Authorization": "Bearer other"}):
            for path in paths:
                async with http.get(f"{url}{path}", headers=headers) as answer:
                    texts += [await answer.text(), str(answer.headers)]
        async with http.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            texts += [await answer.text(), str(answer.headers)]
        async with http.get(f"{url}/api/v1/stream", headers=bearer) as answer:
            texts.append((await answer.content.readuntil(b"event: log")).decode())
    texts.append(json.dumps(await call(site.socket, "status")))
    token = f"token: {{file: {site.folder}/token}}"
    good = site.replaced(token, token)
    for wrong in ("token: nonsense", f"token: {TOKEN}", f"token: {{text: {TOKEN}}}"):
        site.configure(good.replace(token, wrong))
        texts.append(json.dumps(await call(site.socket, "reload")))
    site.configure(good)
    texts.append(json.dumps(await call(site.socket, "reload")))
    assert [text.count('"refused"') for text in texts[-4:]] == [1, 1, 1, 0]
    with pytest.raises(ControlError) as refused:
        await call(site.socket, "sign-in", {"token": TOKEN})
    frames = stream(site.socket, "trace", {"device": "press"})
    texts += [str(refused.value), str(await anext(frames))]
    await frames.aclose()  # type: ignore[attr-defined]  # an async generator, as documented
    return "\n".join(texts)


def checked(file: Path, *more: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "gateway", *more, str(file)], capture_output=True, text=True, check=False
    )
    return found.stdout + found.stderr


async def test_known_secrets_show_nowhere(site: Site) -> None:
    with Collector(site.broker.port, "#", "cell", RIGHT) as received:
        async with GatewayProcess(site.file) as daemon:
            await daemon.ready()
            await until(lambda: all(f"{name}: down" in daemon.log for name in ("bad", "env", "robot")))
            await until(lambda: bool(received.payloads("cell/press/data")) and bool(received.payloads("cell/state")))
            shown = await everything_served(site)
            process = Path(f"/proc/{daemon.pid}")
            arguments = process.joinpath("cmdline").read_text()
            environment = process.joinpath("environ").read_text().replace(f"KNOWN_SECRET={ENVIRONMENT}", "")
            await daemon.end(signal.SIGABRT)  # as the watchdog does: where it stood goes to the log
    log, file = daemon.log, site.file
    assert "Current thread" in log
    places = {
        "log": log,
        "arguments": arguments,
        "environment": environment,
        "HTTP and control socket": shown,
        "messages": "\n".join(f"{each.topic} {each.payload!r} {each.user}" for each in received.messages),
        "audit log": (site.folder / "audit.log").read_text(),
        "spool": "".join(path.read_bytes().decode("latin-1") for path in site.folder.glob("spool.db*")),
        "check": checked(file, "check") + checked(file, "check", "--json") + checked(file, "tags"),
    }
    for secret in (RIGHT, WRONG, TOKEN, CREDENTIAL, ENVIRONMENT):
        assert [place for place, text in places.items() if secret in text] == []


LITERAL = """
gateway: {{name: cell}}
connections:
  robot:
    driver: opcua
    endpoint: "opc.tcp://user:{0}@127.0.0.1:4840"
    username: a
    password: {0}
    devices: {{w: {{tags: {{c: {{node: "i=1"}}}}}}}}
upstreams:
  a: {{broker: "mqtt://user:{0}@127.0.0.1", password: {0}}}
  b: {{broker: "mqtts://x.y", password: {{text: {0}}}, passwort: {0}}}
  c: {{broker: "mqtts://x.y", password: [{0}]}}
status: {{listen: "0.0.0.0:1", token: {0}}}
"""


def test_a_secret_written_into_the_file_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(LITERAL.format(RIGHT))
    for text in (checked(file, "check"), checked(file, "check", "--json"), checked(file, "run"), checked(file, "tags")):
        assert "secrets never stand in the file" in text
        assert RIGHT not in text
        assert "Traceback" not in text


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [("changeme", 0o600, "is a placeholder"), (WRONG, 0o644, "can be read by everybody"), (None, 0, "can't be read")],
)
async def test_a_reload_takes_no_secret_that_a_check_refuses(site: Site, text: str | None, mode: int, why: str) -> None:
    other = site.folder / "other"
    if text is not None:
        other.write_text(text)
        other.chmod(mode)
    async with GatewayProcess(site.file) as daemon:
        await daemon.ready()
        site.configure(site.replaced(f"{site.folder}/mqtt", str(other)))
        assert why in await asyncio.to_thread(checked, site.file, "check")
        outcome: dict[str, Any] = await call(site.socket, "reload")
        assert outcome["result"] == "refused"
        assert why in outcome["errors"][0]
        assert await daemon.end() == 0


async def test_the_records_name_the_caller_whom_the_kernel_names(site: Site) -> None:
    audit = site.folder / "audit.log"
    async with GatewayProcess(site.file) as daemon:
        await daemon.ready()
        await call(site.socket, "reload", {"caller": "root", "source": "SIGHUP", "uid": 12345})
        await until(lambda: '"kind":"reload"' in audit.read_text())
        assert await daemon.end() == 0
    [line] = [line for line in audit.read_text().splitlines() if '"kind":"reload"' in line]
    assert json.loads(line)["source"].startswith(f"control socket (uid {os.getuid()}")
