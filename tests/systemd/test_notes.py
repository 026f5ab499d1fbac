"""What install.sh tells an administrator about the machine, on made-up machines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
    "dev/watchdog": "",
    "etc/systemd/system.conf": "[Manager]\n#RuntimeWatchdogSec=off\n",
    "etc/gateway/gateway.yaml": "connections:\n  bus: {driver: modbus-rtu, port: /dev/ttyUSB0}  # not /dev/ttyUSB7\n",
}
PC = {
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "etc/gateway/line1.yaml": "  port: /dev/serial/by-id/usb-FTDI-if00\n  # port: /dev/ttyUSB0\n",
}


def notes(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = subprocess.run([str(DEPLOY / "notes.sh"), str(root)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_machine_that_is_well_set_up_has_none(tmp_path: Path) -> None:
    assert notes(tmp_path, PC) == []


def test_a_fresh_raspberry_pi(tmp_path: Path) -> None:
    memory, watchdog, serial = notes(tmp_path, PI)
    assert "cgroup_enable=memory" in memory
    assert "/boot/firmware/cmdline.txt" in memory
    assert "RuntimeWatchdogSec=15s" in watchdog
    assert "/etc/gateway/gateway.yaml names /dev/ttyUSB0" in serial
    assert "/dev/serial/by-id/..." in serial


def test_the_adapters_own_name_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "dev/serial/by-id"
    folder.mkdir(parents=True)
    (folder / "usb-FTDI_A1-if00-port0").symlink_to("../../ttyUSB1")
    (folder / "usb-FTDI_A2-if00-port0").symlink_to("../../ttyUSB0")
    assert notes(tmp_path, PI)[-1].endswith("use /dev/serial/by-id/usb-FTDI_A2-if00-port0")


def test_a_pc_has_no_boot_file_to_change(tmp_path: Path) -> None:
    [note] = notes(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpu io\n"})
    assert "memory limits" in note
    assert "cmdline.txt" not in note


@pytest.mark.parametrize(
    ("value", "said"),
    [("15s", ""), ("10", ""), ("1min", "16 s"), ("20s", "16 s"), ("off", "hangs"), ("0", "hangs"), ("", "hangs")],
)
def test_the_raspberry_pis_watchdog_counts_to_sixteen(tmp_path: Path, value: str, said: str) -> None:
    machine = PI | {
        "etc/systemd/system.conf": "[Manager]\nRuntimeWatchdogSec=3s\n",
        "usr/lib/systemd/system.conf.d/40-watchdog.conf": f"[Manager]\nRuntimeWatchdogSec={value}\n",
    }
    found = [note for note in notes(tmp_path, machine) if "RuntimeWatchdogSec" in note]
    assert len(found) == bool(said)
    assert all(said in note for note in found)
