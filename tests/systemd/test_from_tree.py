"""Installed from a source tree, the packages from an index: here a folder stands for the index."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.fakes.nspawn import Machine
from tests.fakes.wheelhouse import TREE, copy_tree

pytestmark = [
    pytest.mark.endure,
    pytest.mark.timeout(1200),
    pytest.mark.parametrize("suite", ["bookworm"], indirect=True),
]


def test_a_tree_is_installed_with_what_its_locks_name(machine: Machine) -> None:
    copy_tree(machine.root / "srv/tree", "9.1.0")
    backend = machine.root / "srv/backend"
    lock = TREE / "deploy/build.lock"
    subprocess.run([sys.executable, "-m", "pip", "-q", "download", "-d", str(backend), "-r", str(lock)], check=True)
    command = ["env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/media/wheels /srv/backend", "/srv/tree/deploy/install.sh"]
    assert "nothing runs yet" in machine.run(*command)
    assert machine.run("readlink", "/opt/gateway/current") == "releases/9.1.0"
    assert "gateway 9.1.0" in machine.run("gateway", "--version")
    installed = machine.run("/opt/gateway/current/bin/python", "-m", "pip", "list", "--format", "freeze")
    assert "hatchling" not in installed
    assert not (machine.root / "opt/gateway/releases/9.1.0/wheel").exists()

    lock_inside = machine.root / "srv/tree/deploy/requirements.lock"
    lock_inside.write_text(re.sub(r"sha256:[0-9a-f]{4}", "sha256:0000", lock_inside.read_text()))
    machine.run("rm", "-rf", "/opt/gateway/releases/9.1.0")
    refused = machine.run(*command, check=False)
    assert "the packages can't be had (see above); nothing was changed" in refused
