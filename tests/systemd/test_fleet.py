"""What is rolled out beside the daemon: the fleet's playbook over forty machines, the dashboard over their metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.runtime.status.metrics import render
from tests.fakes.status import FakePlant

DEPLOY = Path(__file__).parents[2] / "deploy"
ANSIBLE = Path(sys.executable).parent  # of the extra `dev`
BOXES = [f"box-{number:02}" for number in range(1, 41)]


def test_the_dashboard_asks_only_for_metrics_there_are() -> None:
    plant = FakePlant()
    plant.move(0)
    plant.incident()
    text = render(plant.counters, plant.view.health(), plant.view.build).decode()
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    dashboard = json.loads((DEPLOY / "grafana/edge-gateway.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"gateway_\w+", target["expr"])
    }
    assert asked - there == set()
    assert len(asked) > 15
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A playbook's folder with an inventory of forty machines and a configuration for each."""
    folder = tmp_path / "deploy/ansible"
    shutil.copytree(DEPLOY / "ansible", folder)
    inventory = (folder / "inventory.example.yml").read_text()
    (folder / "inventory.yml").write_text(inventory.replace("box-[01:40].plant.local", "box-[01:40]"))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/SHA256SUMS").touch()
    example = (DEPLOY.parent / "config/gateway.yaml").read_text()
    for box in BOXES:
        (folder / f"configs/{box}.yaml").write_text(re.sub(r"(?m)^(\s+name:).*$", rf"\1 {box}", example, count=1))
    return folder


def ansible(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs on the inventory."""
    return subprocess.run(
        [str(ANSIBLE / program), "-i", "inventory.yml", *arguments],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_playbook_is_understood(fleet: Path) -> None:
    done = ansible(fleet, "ansible-playbook", "--syntax-check", "site.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    listed = ansible(fleet, "ansible-inventory", "--list")
    assert json.loads(listed.stdout)["gateways"]["hosts"] == BOXES


def test_a_machine_without_a_configuration_stops_the_rollout_before_it_begins(fleet: Path) -> None:
    (fleet / "configs/box-37.yaml").unlink()
    done = ansible(fleet, "ansible-playbook", "site.yml")
    assert done.returncode != 0
    assert re.search(r"box-37 lacks \S+/configs/box-37.yaml", done.stdout)
    assert done.stdout.count("failed=0") == len(BOXES) - 1
    assert "Edge gateways" not in done.stdout  # the play that touches machines
