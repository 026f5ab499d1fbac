"""A gateway installed on a real Debian, as an administrator sees it, with its PLC and its broker."""

from __future__ import annotations

import json

from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.nspawn import Machine
from tests.fakes.waiting import wait_for

PASSWORD = "a-broker-password-nobody-guesses"  # noqa: S105  # a test's password
SHARE = "/opt/gateway/current/share/gateway"
INSTALL = ("/media/wheels/install.sh", "--offline", "/media/wheels", "--settle", "2")
CONFIG = """
gateway: {{name: cell}}
defaults: {{every: 200ms}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press: {{unit: 1, tags: {{counter: {{address: holding:100, type: uint16}}}}}}
upstreams:
  plant:
    broker: mqtt://127.0.0.1:{broker}
    username: gateway
    password: {{credential: mqtt}}
status: {{listen: "127.0.0.1:{page}"}}
"""
DROP_IN = """
[Service]
LoadCredential=mqtt:/etc/gateway/secrets/mqtt
WatchdogSec=4s
TimeoutAbortSec=4s
RestartSec=1s
"""


class Cell:
    """The gateway.service of a machine."""

    def __init__(self, machine: Machine, plc: int, broker: Mosquitto) -> None:
        self.machine, self.broker = machine, broker
        self.page = free_port()
        self.config = CONFIG.format(plc=plc, broker=broker.port, page=self.page)

    def configure(self) -> None:
        """What an operator writes: the configuration, a secret, a drop-in that hands the secret over."""
        self.machine.write("/etc/gateway/gateway.yaml", self.config)
        self.machine.write("/etc/gateway/secrets/mqtt", PASSWORD + "\n", 0o600)
        self.machine.write("/etc/systemd/system/gateway.service.d/test.conf", DROP_IN)

    def install(self, version: str, *options: str, check: bool = True) -> str:
        """What install.sh says."""
        return self.machine.run(*INSTALL, "--version", version, *options, check=check)

    @property
    def pid(self) -> int:
        return int(self.machine.show("gateway", "MainPID"))

    @property
    def release(self) -> str:
        """The release in use."""
        return self.machine.run("readlink", "/opt/gateway/current").removeprefix("releases/")

    @property
    def active(self) -> bool:
        return self.machine.show("gateway", "ActiveState") == "active"

    def journal(self, *arguments: str) -> str:
        """The unit's messages so far."""
        return self.machine.run("journalctl", "-u", "gateway", "--no-pager", "-o", "cat", *arguments)

    def wait_for_journal(self, text: str, count: int = 1) -> None:
        """Until the text stands in the journal so many times."""
        wait_for(lambda: self.journal().count(text) >= count, text)

    def collector(self) -> Collector:
        """A subscriber to everything."""
        return Collector(self.broker.port, username="gateway", password=PASSWORD)

    def delivers(self, count: int = 5) -> None:
        """Until so many readings of the PLC have come through the broker."""
        with self.collector() as collector:
            collector.wait_for(lambda _: len(times(collector)) >= count, 60)


def times(collector: Collector) -> list[int]:
    """The times of all readings received, in ms."""
    messages = [json.loads(payload) for payload in collector.payloads("cell/press/data")]
    return [reading["time"] for message in messages for reading in message["readings"]]
