"""systemd's patience on a real system: far shorter than what starting and stopping take, and yet nobody is killed."""

from __future__ import annotations

import shutil

import pytest

from tests.fakes.installed import DROP_IN, Cell

pytestmark = [
    pytest.mark.endure,
    pytest.mark.timeout(1200),
    pytest.mark.parametrize("suite", ["bookworm"], indirect=True),
]
IMPATIENT = DROP_IN + "TimeoutStartSec=5s\nTimeoutStopSec=2s\n"


def test_compiling_and_draining_take_longer_than_systemd_would_wait(cell: Cell) -> None:
    machine = cell.machine
    machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.config += "shutdown_timeout: 8s\n"
    cell.configure()
    cell.install("9.0.0")
    machine.write("/etc/systemd/system/gateway.service.d/test.conf", IMPATIENT)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", "gateway")
    for kernels in (machine.root / "var/cache/gateway").glob("kernels-*"):
        shutil.rmtree(kernels)
    machine.run("systemctl", "start", "gateway")  # fails where it was killed
    assert "compiling the kernels" in cell.journal()
    started, ready = (
        int(machine.show("gateway", key))
        for key in ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
    )
    assert ready - started > 5e6

    cell.broker.kill()
    cell.wait_for_journal("plant: down")
    machine.run("systemctl", "stop", "gateway")
    began, ended = (
        int(machine.show("gateway", key)) for key in ("ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic")
    )
    assert ended - began > 7e6
    assert machine.show("gateway", "Result") == "success"
