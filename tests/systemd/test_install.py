"""The whole life of an installation on a real Debian under a real systemd. Long: runs with `make endure`."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.nspawn import CACHE, Machine, missing

pytestmark = [pytest.mark.endure, pytest.mark.timeout(1800)]

TREE = Path(__file__).parents[2]
PASSWORD = "a-broker-password-nobody-guesses"  # noqa: S105  # a test's password
INSTALL = ("/media/wheels/install.sh", "--offline", "/media/wheels", "--settle", "4")
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


@pytest.fixture(scope="module")
def wheels() -> Path:
    """A wheelhouse with three releases: this tree as 9.0.0 and 9.1.0, and 9.2.0 that ends as soon as it is run."""
    lacking = missing()
    if lacking:
        if os.environ.get("GATEWAY_REQUIRE_SYSTEMD"):
            pytest.fail(f"a real systemd is required here: {lacking}")
        pytest.skip(f"THE INSTALLATION WAS NOT TESTED: {lacking}")
    folder = CACHE / "wheels"
    for old in folder.glob("edge_gateway-*"):
        old.unlink()
    source = CACHE / "tree"
    for version in ("9.0.0", "9.1.0", "9.2.0"):
        shutil.rmtree(source, ignore_errors=True)
        for name in ("gateway", "config", "deploy"):
            shutil.copytree(TREE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(TREE / name, source / name)
        (source / "gateway/__init__.py").write_text(f'"""The gateway."""\n\n__version__ = "{version}"\n')
        if version == "9.2.0":
            app = source / "gateway/app/__init__.py"
            app.write_text(
                re.sub(r"(def run_daemon\(.*\n)", r'\1    raise SystemExit("broken release")\n', app.read_text())
            )
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert minor == "3.11", "Debian 12's Python"
        subprocess.run(
            [str(source / "deploy/make-wheelhouse.sh"), str(folder), "--python", minor],
            env={**os.environ, "PYTHON": sys.executable},
            check=True,
        )
    return folder


@pytest.fixture
def machine(tmp_path: Path, wheels: Path) -> Iterator[Machine]:
    with Machine(tmp_path / "root", wheels) as machine:
        yield machine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", PASSWORD], check=True)
    lines = [f"password_file {passwords}", "persistence false"]
    with Mosquitto(tmp_path, lines, anonymous=False) as broker:
        yield broker


@pytest.fixture
def plc(tmp_path: Path) -> Iterator[int]:
    """The port of a simulated PLC."""
    port = free_port()
    file = tmp_path / "plc.yaml"
    file.write_text(CONFIG.format(plc=port, broker=1883, page=0).replace("mqtt://127.0.0.1:1883", "mqtt://localhost"))
    simulator = subprocess.Popen(
        [sys.executable, "-m", "gateway", "simulate", str(file)], stdout=subprocess.DEVNULL, cwd=TREE
    )
    yield port
    simulator.terminate()
    simulator.wait(timeout=30)


class Cell:
    """An installed gateway with its PLC and broker."""

    def __init__(self, machine: Machine, plc: int, broker: Mosquitto) -> None:
        self.machine, self.broker = machine, broker
        self.page = free_port()
        self.config = CONFIG.format(plc=plc, broker=broker.port, page=self.page)

    def configure(self) -> None:
        self.machine.write("/etc/gateway/gateway.yaml", self.config)
        self.machine.write("/etc/gateway/secrets/mqtt", PASSWORD + "\n", 0o600)
        self.machine.write("/etc/systemd/system/gateway.service.d/test.conf", DROP_IN)

    @property
    def pid(self) -> int:
        return int(self.machine.show("gateway", "MainPID"))

    @property
    def release(self) -> str:
        return self.machine.run("readlink", "/opt/gateway/current")

    def active(self) -> bool:
        return self.machine.show("gateway", "ActiveState") == "active"

    def journal(self, *arguments: str) -> str:
        return self.machine.run("journalctl", "-u", "gateway", "--no-pager", "-o", "cat", *arguments)


def times(collector: Collector) -> list[int]:
    """The times of all readings received, in ms."""
    messages = [json.loads(payload) for payload in collector.payloads("cell/press/data")]
    return [reading["time"] for message in messages for reading in message["readings"]]


def test_the_life_of_an_installation(machine: Machine, plc: int, broker: Mosquitto) -> None:
    cell = Cell(machine, plc, broker)
    try:
        installs_without_a_configuration(cell)
        cell.configure()
        starts_and_delivers(cell)
        is_confined(cell)
        a_stalled_daemon_is_replaced(cell)
        reloads(cell)
        a_kill_costs_no_more_than_the_commit_interval(cell)
        a_wrong_configuration_stays_down(cell)
        an_update_switches(cell)
        a_broken_update_is_taken_back(cell)
        a_second_instance_has_its_own_state(cell)
        uninstalls(cell)
    except (AssertionError, TimeoutError):
        print(machine.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "80", check=False))
        raise


def test_the_debian_package(machine: Machine, plc: int, broker: Mosquitto) -> None:
    cell = Cell(machine, plc, broker)
    for name in ("deploy", "config"):
        shutil.copytree(TREE / name, machine.root / "root/tree" / name)
    shutil.copy(TREE / "README.md", machine.root / "root/tree/README.md")
    for version in ("9.0.0", "9.1.0", "9.2.0"):
        machine.run("/root/tree/deploy/make-deb.sh", "/media/wheels", "/root/debs", version)
    debs = {version: f"/root/debs/edge-gateway_{version}_amd64_py311.deb" for version in ("9.0.0", "9.1.0", "9.2.0")}
    try:
        machine.run("mkdir", "-p", "/etc/gateway/secrets")
        cell.configure()
        machine.run("dpkg", "-i", debs["9.0.0"])
        assert cell.active()
        assert "gateway 9.0.0" in machine.run("gateway", "--version")
        machine.run("dpkg", "-i", debs["9.1.0"])
        assert cell.active()
        assert cell.release == "releases/9.1.0"
        assert "release 9.1.0 runs again" in machine.run("dpkg", "-i", debs["9.2.0"], check=False)
        assert cell.active()
        machine.run("dpkg", "--remove", "edge-gateway")
        assert (machine.root / "etc/gateway/gateway.yaml").exists()
        assert not (machine.root / "opt/gateway/current").exists()
        machine.run("dpkg", "--purge", "edge-gateway")
        assert not (machine.root / "etc/gateway").exists()
    except (AssertionError, TimeoutError):
        print(machine.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "80", check=False))
        raise


PLAYBOOK = """
- hosts: localhost
  connection: local
  vars:
    gateway_wheelhouse: /media/wheels
    gateway_version: "{version}"
    gateway_config: /root/cell.yaml
    gateway_settle: 2
    gateway_secrets: {{spare: "{secret}"}}
  roles: [gateway]
"""


def test_the_fleets_role(machine: Machine, plc: int, broker: Mosquitto, tmp_path: Path) -> None:
    cell = Cell(machine, plc, broker)
    shutil.copytree(TREE / "deploy/ansible", machine.root / "root/ansible")
    packages = machine.root / "root/packages"
    subprocess.run([sys.executable, "-m", "pip", "-q", "download", "-d", str(packages), "ansible-core"], check=True)
    machine.run("python3", "-m", "venv", "/root/venv")
    machine.run("/root/venv/bin/pip", "-q", "install", "--no-index", "--find-links", "/root/packages", "ansible-core")
    machine.write("/root/cell.yaml", cell.config)
    machine.write("/etc/gateway/secrets/mqtt", PASSWORD + "\n", 0o600)
    machine.write("/etc/systemd/system/gateway.service.d/test.conf", DROP_IN)

    def play(version: str, *, check: bool = True) -> str:
        machine.write("/root/ansible/play.yml", PLAYBOOK.format(version=version, secret=PASSWORD))
        home = ["env", "HOME=/root", "ANSIBLE_NOCOLOR=1", "ANSIBLE_ROLES_PATH=/root/ansible/roles"]
        return machine.run(*home, "/root/venv/bin/ansible-playbook", "/root/ansible/play.yml", check=check)

    first = play("9.0.0")
    assert cell.active()
    assert cell.release == "releases/9.0.0"
    assert PASSWORD not in first
    assert machine.run("stat", "-c", "%U %G %a", "/etc/gateway/secrets/spare") == "root gateway 640"
    running = cell.pid
    assert "changed=0" in play("9.0.0")
    machine.write("/root/cell.yaml", cell.config.replace("every: 200ms", "every: 400ms"))
    play("9.0.0")
    machine.wait(lambda: "reloaded: 1 devices" in cell.journal(), "the reload")
    assert cell.pid == running
    assert "was taken back" in play("9.2.0", check=False)
    assert cell.active()
    assert cell.release == "releases/9.0.0"


def installs_without_a_configuration(cell: Cell) -> None:
    answer = cell.machine.run(*INSTALL, "--version", "9.0.0")
    assert "nothing runs yet" in answer
    assert cell.release == "releases/9.0.0"
    assert (cell.machine.root / "etc/gateway/gateway.yaml.example").exists()
    assert not cell.active()
    assert "release 9.0.0 is already there" in cell.machine.run(*INSTALL, "--version", "9.0.0")


def starts_and_delivers(cell: Cell) -> None:
    answer = cell.machine.run(*INSTALL, "--version", "9.0.0")
    assert "release 9.0.0 runs: gateway.service" in answer
    assert cell.active()
    assert cell.machine.run("systemctl", "is-enabled", "gateway") == "enabled"
    with Collector(cell.broker.port, username="gateway", password=PASSWORD) as collector:
        collector.wait_for(lambda _: len(times(collector)) >= 5, 60)
    cell.machine.wait(lambda: "1/1 devices ok" in cell.machine.show("gateway", "StatusText"), "the status line")
    assert PASSWORD not in cell.journal()
    assert PASSWORD not in cell.machine.run("ps", "-ww", "-eo", "args")
    assert "PRIORITY" in cell.journal("-o", "json", "-n", "1")
    assert '"LOGGER":"gateway.' in cell.journal("-o", "json")


def is_confined(cell: Cell) -> None:
    status = Path(cell.machine.root / f"proc/{cell.pid}/status")
    text = status.read_text() if status.exists() else cell.machine.run("cat", f"/proc/{cell.pid}/status")
    uid = cell.machine.run("id", "-u", "gateway")
    assert re.search(rf"^Uid:\s+{uid}\s+{uid}\s", text, re.MULTILINE)
    for key in ("CapPrm", "CapEff", "CapBnd"):
        assert re.search(rf"^{key}:\s+0+$", text, re.MULTILINE), key
    assert re.search(r"^NoNewPrivs:\s+1$", text, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", text, re.MULTILINE)
    for folder in ("/var/lib/gateway", "/var/cache/gateway"):
        assert cell.machine.run("stat", "-c", "%U %a", folder) == "gateway 700"
    inodes = {
        link.split("[")[1].rstrip("]")
        for link in cell.machine.run("find", f"/proc/{cell.pid}/fd", "-lname", "socket:*", "-printf", "%l\n").split()
    }
    tcp = "\n".join(cell.machine.run("cat", f"/proc/{cell.pid}/net/{name}") for name in ("tcp", "tcp6"))
    rows = [line.split() for line in tcp.splitlines() if ":" in line.split(maxsplit=1)[0]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert listening == [f"0100007F:{cell.page:04X}"]


def a_stalled_daemon_is_replaced(cell: Cell) -> None:
    stalled = cell.pid
    cell.machine.run("kill", "-STOP", str(stalled))
    cell.machine.wait(lambda: cell.active() and cell.pid not in {0, stalled}, "a new daemon")
    assert int(cell.machine.show("gateway", "NRestarts")) >= 1
    journal = cell.journal()
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal


def reloads(cell: Cell) -> None:
    before = cell.pid
    file = cell.machine.root / "etc/gateway/gateway.yaml"
    file.write_text(cell.config.replace("every: 200ms", "every: 100ms"))
    cell.machine.run("systemctl", "reload", "gateway")
    cell.machine.wait(lambda: "reloaded: 1 devices" in cell.journal(), "the reload")
    file.write_text(cell.config.replace("every:", "evry:"))
    assert "evry" in cell.machine.run("gateway", "check", "/etc/gateway/gateway.yaml", check=False)
    failed = cell.machine.run("systemctl", "reload", "gateway", check=False)
    assert "failed" in failed
    assert cell.active()
    file.write_text(cell.config)
    cell.machine.run("systemctl", "reload", "gateway")
    assert cell.pid == before


def a_kill_costs_no_more_than_the_commit_interval(cell: Cell) -> None:
    cell.broker.kill()
    time.sleep(6)  # a backlog, whatever its size
    killed_ms = time.time() * 1000
    cell.machine.run("sh", "-c", f"kill -KILL {cell.pid}; systemctl stop gateway")
    cell.broker.start()
    with Collector(cell.broker.port, username="gateway", password=PASSWORD) as collector:  # before the daemon is back
        cell.machine.run("systemctl", "start", "gateway")
        collector.wait_for(lambda _: any(time > killed_ms + 3000 for time in times(collector)), 120)
        seen = sorted(set(times(collector)))
    # 200 ms between readings, one second of commit interval, half a second until a block is sealed
    kept = [time for time in seen if killed_ms - 4000 < time < killed_ms]
    assert kept, [round(time - killed_ms) for time in seen[:100]]
    assert max(kept) > killed_ms - 2500
    assert max(after - before for before, after in itertools.pairwise(kept)) < 1000


def a_wrong_configuration_stays_down(cell: Cell) -> None:
    file = cell.machine.root / "etc/gateway/gateway.yaml"
    file.write_text(cell.config.replace("driver: modbus-tcp", "driver: modbus-tpc"))
    cell.machine.run("systemctl", "restart", "gateway", check=False)
    cell.machine.wait(lambda: cell.machine.show("gateway", "ActiveState") == "failed", "the end")
    assert cell.machine.show("gateway", "ExecMainStatus") == "78"
    refused = cell.machine.run(*INSTALL, "--version", "9.1.0", check=False)
    assert "refuses /etc/gateway/gateway.yaml" in refused
    assert cell.release == "releases/9.0.0"
    file.write_text(cell.config)
    cell.machine.run("systemctl", "restart", "gateway")


def an_update_switches(cell: Cell) -> None:
    answer = cell.machine.run(*INSTALL, "--version", "9.1.0")
    assert "release 9.1.0 runs: gateway.service" in answer
    assert cell.release == "releases/9.1.0"
    assert "gateway 9.1.0" in cell.machine.run("gateway", "--version")


def a_broken_update_is_taken_back(cell: Cell) -> None:
    answer = cell.machine.run(*INSTALL, "--version", "9.2.0", check=False)
    assert "release 9.2.0 was taken back; release 9.1.0 runs again" in answer
    assert cell.release == "releases/9.1.0"
    assert cell.active()
    back = cell.machine.run("/opt/gateway/current/share/gateway/install.sh", "--rollback", "--settle", "4")
    assert "release 9.0.0 runs" in back
    assert cell.release == "releases/9.0.0"


def a_second_instance_has_its_own_state(cell: Cell) -> None:
    line = cell.config.replace("name: cell", "name: line1")
    cell.machine.write("/etc/gateway/line1.yaml", line)
    refused = cell.machine.run(*INSTALL, "--version", "9.0.0", check=False)
    assert "status.listen" in refused
    assert "two instances may not share" in refused
    cell.machine.write("/etc/gateway/line1.yaml", line.replace(str(cell.page), str(free_port())))
    cell.machine.write("/etc/systemd/system/gateway@line1.service.d/test.conf", DROP_IN)
    cell.machine.run("systemctl", "daemon-reload")
    cell.machine.run("systemctl", "enable", "--now", "gateway@line1.service", "gateway.target")
    assert cell.machine.run("stat", "-c", "%U %a", "/var/lib/gateway/line1") == "gateway 700"
    answer = cell.machine.run(*INSTALL, "--version", "9.0.0")
    assert "gateway@line1.service" in answer
    before = cell.machine.show("gateway@line1", "MainPID")
    cell.machine.run("systemctl", "restart", "gateway.target")
    cell.machine.wait(
        lambda: (
            cell.machine.show("gateway@line1", "ActiveState") == "active"
            and cell.machine.show("gateway@line1", "MainPID") != before
        ),
        "the target's restart",
    )


def uninstalls(cell: Cell) -> None:
    inside = cell.machine.root
    cell.machine.run("/opt/gateway/current/share/gateway/uninstall.sh")
    assert not (inside / "opt/gateway").exists()
    assert (inside / "etc/gateway/gateway.yaml").exists()
    assert any((inside / "var/lib/gateway").iterdir())
    cell.machine.run(*INSTALL, "--version", "9.0.0")
    cell.machine.run("/media/wheels/uninstall.sh", "--purge")
    assert not (inside / "etc/gateway").exists()
    assert not (inside / "var/lib/gateway").exists()
    assert "gateway" not in (inside / "etc/passwd").read_text()
