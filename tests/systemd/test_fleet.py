"""What is rolled out beside the daemon: the fleet's playbook and the dashboard over its metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.runtime.status.metrics import render
from tests.fakes.status import FakePlant

DEPLOY = Path(__file__).parents[2] / "deploy"


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


def test_the_playbook_is_understood() -> None:
    if shutil.which("ansible-playbook") is None:
        pytest.skip("THE PLAYBOOK WAS NOT CHECKED: no ansible-playbook")
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventory.example.yml", "--syntax-check", "site.yml"],
        cwd=DEPLOY / "ansible",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
