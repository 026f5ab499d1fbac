"""The fleet's role run on a real system: one of forty machines, rolled out, changed, updated to a broken release."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.fakes.installed import DROP_IN, PASSWORD, Cell
from tests.fakes.wheelhouse import BROKEN, TREE

pytestmark = [
    pytest.mark.endure,
    pytest.mark.timeout(1800),
    pytest.mark.releases("9.0.0", BROKEN),
    pytest.mark.parametrize("suite", ["bookworm"], indirect=True),
]
INVENTORY = f"""
gateways:
  hosts:
    box-[01:40]:
  vars:
    ansible_connection: local
    gateway_wheelhouse: /media/wheels
    gateway_settle: 2
    gateway_secrets: {{spare: "{PASSWORD}"}}
"""


class Controller:
    """Ansible inside the machine: each of the forty names is this machine, so one of them is rolled out."""

    def __init__(self, cell: Cell, box: str) -> None:
        self.cell, self.box = cell, box
        machine = cell.machine
        shutil.copytree(TREE / "deploy/ansible", machine.root / "srv/ansible")
        packages = machine.root / "srv/packages"
        subprocess.run([sys.executable, "-m", "pip", "-q", "download", "-d", str(packages), "ansible-core"], check=True)
        machine.run("python3", "-m", "venv", "/opt/ansible")
        machine.run("/opt/ansible/bin/pip", "-q", "install", "--no-index", "-f", "/srv/packages", "ansible-core")
        machine.write("/srv/ansible/inventory.yml", INVENTORY)
        for number in range(1, 41):
            name = f"box-{number:02}"
            self.configure(name, cell.config)

    def configure(self, box: str, text: str) -> None:
        self.cell.machine.write(f"/srv/ansible/configs/{box}.yaml", text.replace("name: cell", f"name: {box}"))

    def play(self, *options: str, version: str = "9.0.0", check: bool = True) -> str:
        command = ["env", "-C", "/srv/ansible", "HOME=/tmp", "ANSIBLE_NOCOLOR=1", "/opt/ansible/bin/ansible-playbook"]
        command += ["-i", "inventory.yml", "--limit", self.box, "-e", f"gateway_version={version}"]
        return self.cell.machine.run(*command, *options, "site.yml", check=check)


def test_the_fleets_role(cell: Cell) -> None:
    controller = Controller(cell, "box-07")
    cell.machine.write("/etc/gateway/secrets/mqtt", PASSWORD + "\n", 0o600)
    cell.machine.write("/etc/systemd/system/gateway.service.d/test.conf", DROP_IN)

    first = controller.play()
    assert cell.active
    assert cell.release == "9.0.0"
    assert "name: box-07" in (cell.machine.root / "etc/gateway/gateway.yaml").read_text()
    assert PASSWORD not in first
    assert cell.machine.run("stat", "-c", "%U %G %a", "/etc/gateway/secrets/spare") == "root gateway 640"
    running = cell.pid
    assert "changed=0" in controller.play()
    assert "changed=0" in controller.play("--check")

    controller.configure("box-07", cell.config.replace("every: 200ms", "every: 400ms"))
    assert "changed=2" in controller.play("--check")  # the configuration, and the reload that follows
    assert "every: 200ms" in (cell.machine.root / "etc/gateway/gateway.yaml").read_text()
    controller.play()
    cell.wait_for_journal("reloaded: 1 devices")
    assert cell.pid == running

    assert "was taken back" in controller.play(version=BROKEN, check=False)
    assert cell.active
    assert cell.release == "9.0.0"
