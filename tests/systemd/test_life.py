"""The life of an installation on a real Debian under a real systemd: installed, run, disturbed, removed."""

from __future__ import annotations

import itertools
import re
import time

import pytest

from tests.fakes.installed import PASSWORD, SHARE, Cell, times
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)


def test_the_life_of_an_installation(cell: Cell) -> None:
    installs_without_a_configuration(cell)
    cell.configure()
    starts_and_delivers(cell)
    is_confined(cell)
    a_stalled_daemon_is_replaced(cell)
    reloads(cell)
    a_kill_costs_no_more_than_the_commit_interval(cell)
    a_wrong_configuration_stays_down(cell)
    a_missing_credential_is_said(cell)
    uninstalls(cell)


def installs_without_a_configuration(cell: Cell) -> None:
    assert "would run: /usr/bin/python3 -m venv" in cell.install("9.0.0", "--dry-run")
    for path in ("opt/gateway", "etc/gateway", "var/lib/gateway", "etc/systemd/system/gateway.service"):
        assert not (cell.machine.root / path).exists(), path
    answer = cell.install("9.0.0")
    assert "nothing runs yet" in answer
    assert cell.release == "9.0.0"
    assert (cell.machine.root / "etc/gateway/gateway.yaml.example").exists()
    assert not cell.active
    [manifest] = (cell.machine.root / "var/cache/gateway").glob("kernels-9.0.0-*/manifest.json")
    assert ".nbc" in manifest.read_text()


def starts_and_delivers(cell: Cell) -> None:
    answer = cell.install("9.0.0")
    assert "release 9.0.0 is already there" in answer
    assert "0 compiled" in answer
    assert "release 9.0.0 runs: gateway.service" in answer
    assert cell.active
    assert cell.machine.run("systemctl", "is-enabled", "gateway") == "enabled"
    cell.delivers()
    wait_for(lambda: "1/1 devices ok" in cell.machine.show("gateway", "StatusText"), "the status line")
    assert PASSWORD not in cell.journal()
    assert PASSWORD not in cell.machine.run("ps", "-ww", "-eo", "args")
    assert "PRIORITY" in cell.journal("-o", "json", "-n", "1")
    assert '"LOGGER":"gateway.' in cell.journal("-o", "json")
    running = cell.pid
    again = cell.install("9.0.0")
    assert "starting" not in again
    assert "switched" not in again
    assert cell.pid == running


def is_confined(cell: Cell) -> None:
    text = cell.machine.run("cat", f"/proc/{cell.pid}/status")
    uid = cell.machine.run("id", "-u", "gateway")
    assert re.search(rf"^Uid:\s+{uid}\s+{uid}\s", text, re.MULTILINE)
    for key in ("CapPrm", "CapEff", "CapBnd"):
        assert re.search(rf"^{key}:\s+0+$", text, re.MULTILINE), key
    assert re.search(r"^NoNewPrivs:\s+1$", text, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", text, re.MULTILINE)
    for unit in ("gateway.service", "gateway@.service"):
        path = f"/etc/systemd/system/{unit}"
        assert cell.machine.run("systemd-analyze", "verify", "--man=no", path) == ""
        cell.machine.run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", path)
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
    wait_for(lambda: cell.active and cell.pid not in {0, stalled}, "a new daemon")
    assert int(cell.machine.show("gateway", "NRestarts")) >= 1
    journal = cell.journal()
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal


def reloads(cell: Cell) -> None:
    before = cell.pid
    file = cell.machine.root / "etc/gateway/gateway.yaml"
    file.write_text(cell.config.replace("every: 200ms", "every: 100ms"))
    cell.machine.run("systemctl", "reload", "gateway")
    cell.wait_for_journal("reloaded: 1 devices")
    file.write_text(cell.config.replace("every:", "evry:"))
    assert "evry" in cell.machine.run("gateway", "check", "/etc/gateway/gateway.yaml", check=False)
    failed = cell.machine.run("systemctl", "reload", "gateway", check=False)
    assert "failed" in failed
    cell.machine.run("systemctl", "kill", "--signal=HUP", "gateway")  # past ExecReload: the daemon refuses, too
    cell.wait_for_journal("reload refused, nothing changed")
    wait_for(lambda: cell.active, "the end of the refused reload")
    file.write_text(cell.config)
    cell.machine.run("systemctl", "reload", "gateway")
    cell.wait_for_journal("reloaded: 1 devices", 2)
    assert cell.pid == before


def a_kill_costs_no_more_than_the_commit_interval(cell: Cell) -> None:
    cell.broker.kill()
    began_ms = time.time() * 1000
    # some seconds without a broker: the daemon itself says how long its upstream is down
    wait_for(lambda: re.search(r"plant down 00:00:(0[6-9]|[1-5]\d)", cell.machine.show("gateway", "StatusText")), "6 s")
    killed_ms = time.time() * 1000
    cell.machine.run("sh", "-c", f"kill -KILL {cell.pid}; systemctl stop gateway")
    cell.broker.start()
    with cell.collector() as collector:  # before the daemon is back
        cell.machine.run("systemctl", "start", "gateway")
        collector.wait_for(lambda _: any(time > killed_ms + 3000 for time in times(collector)), 120)
        seen = sorted(set(times(collector)))
    # 200 ms between readings, one second of commit interval, half a second until a block is sealed
    kept = [time for time in seen if began_ms + 1000 < time < killed_ms]
    assert kept, [round(time - killed_ms) for time in seen[:100]]
    assert max(kept) > killed_ms - 2500
    assert max(after - before for before, after in itertools.pairwise(kept)) < 1000


def a_wrong_configuration_stays_down(cell: Cell) -> None:
    file = cell.machine.root / "etc/gateway/gateway.yaml"
    file.write_text(cell.config.replace("driver: modbus-tcp", "driver: modbus-tpc"))
    cell.machine.run("systemctl", "restart", "gateway", check=False)
    wait_for(lambda: cell.machine.show("gateway", "ActiveState") == "failed", "the end")
    assert cell.machine.show("gateway", "ExecMainStatus") == "78"
    assert cell.machine.show("gateway", "NRestarts") == "0"
    file.write_text(cell.config)
    cell.machine.run("systemctl", "restart", "gateway")


def a_missing_credential_is_said(cell: Cell) -> None:
    secret = cell.machine.root / "etc/gateway/secrets/mqtt"
    secret.rename(secret.with_name("elsewhere"))
    cell.machine.run("systemctl", "restart", "gateway", check=False)
    wait_for(lambda: cell.machine.show("gateway", "ExecMainStatus") == "243", "systemd's refusal")  # CREDENTIALS
    assert "status=243/CREDENTIALS" in cell.journal("-n", "20")
    secret.with_name("elsewhere").rename(secret)
    wait_for(lambda: cell.active, "the next try")  # nobody has to start it


def uninstalls(cell: Cell) -> None:
    inside = cell.machine.root
    cell.machine.run(f"{SHARE}/uninstall.sh", "--dry-run")
    assert cell.active
    answer = cell.machine.run(f"{SHARE}/uninstall.sh")
    assert "/etc/systemd/system/gateway.service.d" in answer  # the operator's own
    assert not (inside / "opt/gateway").exists()
    assert not (inside / "usr/local/bin/gateway").is_symlink()
    assert not (inside / "etc/systemd/system/gateway.service").exists()
    assert (inside / "etc/gateway/gateway.yaml").exists()
    assert any((inside / "var/lib/gateway").iterdir())
    assert "\ngateway:" in (inside / "etc/passwd").read_text()
    cell.machine.run("/media/wheels/uninstall.sh", "--purge")
    for path in ("etc/gateway", "var/lib/gateway", "var/cache/gateway"):
        assert not (inside / path).exists(), path
    assert "\ngateway:" not in (inside / "etc/passwd").read_text()
    assert (inside / "etc/systemd/system/gateway.service.d/test.conf").exists()
