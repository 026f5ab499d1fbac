"""Several instances on one machine: each with its own state and cache, none with what another one has."""

from __future__ import annotations

import pytest

from tests.fakes.installed import DROP_IN, Cell
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import wait_for

pytestmark = [
    pytest.mark.endure,
    pytest.mark.timeout(1200),
    pytest.mark.parametrize("suite", ["bookworm"], indirect=True),
]
SERIAL = """
  bus:
    driver: modbus-rtu
    port: {port}
    devices:
      meter: {{unit: 1, tags: {{power: {{address: holding:0, type: uint16}}}}}}
upstreams:"""


def test_instances(cell: Cell) -> None:
    machine = cell.machine
    machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    cell.install("9.0.0")
    running = cell.pid
    own = cell.config.replace("name: cell", "name: line1").replace(str(cell.page), str(free_port()))
    shared_port = SERIAL.format(port="/dev/ttyUSB0")
    machine.write("/etc/gateway/gateway.yaml", cell.config.replace("\nupstreams:", shared_port))
    spool = "\nspool: {path: /var/lib/gateway/spool.db}\n"
    for key, text in {
        "gateway.name": own.replace("name: line1", "name: cell"),
        "status.listen": cell.config.replace("name: cell", "name: line1"),
        "serial port": own.replace("\nupstreams:", shared_port),
    }.items():
        machine.write("/etc/gateway/line1.yaml", text)
        refused = cell.install("9.0.0", check=False)
        assert f"{key} " in refused
        assert "two instances may not share these; nothing was changed" in refused
    machine.write("/etc/gateway/gateway.yaml", cell.config + spool)
    machine.write("/etc/gateway/line1.yaml", own + spool)
    assert "spool.path /var/lib/gateway/spool.db stands in" in cell.install("9.0.0", check=False)
    assert cell.pid == running

    machine.write("/etc/gateway/gateway.yaml", cell.config)
    machine.write("/etc/gateway/line1.yaml", own)
    machine.write("/etc/systemd/system/gateway@line1.service.d/test.conf", DROP_IN)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "gateway@line1.service", "gateway.target")
    answer = cell.install("9.0.0")
    assert "release 9.0.0 runs: gateway.service gateway@line1.service" in answer
    assert cell.pid == running
    assert machine.show("gateway@line1", "ActiveState") == "active"
    for folder in ("/var/lib/gateway/line1", "/var/cache/gateway/line1"):
        assert machine.run("stat", "-c", "%U %a", folder) == "gateway 700"
    assert (machine.root / "var/lib/gateway/line1/spool.db").exists()
    assert (machine.root / "var/lib/gateway/spool.db").exists()
    for kernels in (machine.root / "var/cache/gateway").glob("kernels-9.0.0-*"):
        assert (machine.root / "var/cache/gateway/line1" / kernels.name / "manifest.json").exists()
    assert "compiling" not in machine.run("journalctl", "-u", "gateway@line1", "--no-pager", "-o", "cat")

    before = machine.show("gateway@line1", "MainPID")
    machine.run("systemctl", "restart", "gateway.target")
    wait_for(
        lambda: (
            machine.show("gateway@line1", "ActiveState") == "active"
            and machine.show("gateway@line1", "MainPID") != before
        ),
        "the target's restart",
    )
    machine.run("systemctl", "stop", "gateway")
    assert machine.show("gateway@line1", "ActiveState") == "active"
