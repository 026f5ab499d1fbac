"""The Debian package: installed, updated, updated to a broken release, removed, purged."""

from __future__ import annotations

import shutil

import pytest

from tests.fakes.installed import Cell
from tests.fakes.wheelhouse import BROKEN, PYTHON, TREE

RELEASES = ("9.0.0", "9.1.0", BROKEN)
pytestmark = [pytest.mark.endure, pytest.mark.timeout(1800), pytest.mark.releases(*RELEASES)]


def test_the_debian_package(cell: Cell) -> None:
    machine, inside = cell.machine, cell.machine.root
    shutil.copytree(TREE / "deploy", inside / "srv/deploy")
    for version in RELEASES:
        machine.run("/srv/deploy/make-deb.sh", "/media/wheels", "/srv/packages", version)
    minor = PYTHON[machine.suite].replace(".", "")
    packages = {version: f"/srv/packages/edge-gateway_{version}_amd64_py{minor}.deb" for version in RELEASES}

    machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    machine.run("dpkg", "-i", packages["9.0.0"])
    assert cell.active
    assert "gateway 9.0.0" in machine.run("gateway", "--version")
    cell.delivers()
    assert "apt remove edge-gateway" in machine.run("/media/wheels/uninstall.sh", check=False)

    machine.run("dpkg", "-i", packages["9.1.0"])
    assert cell.active
    assert cell.release == "9.1.0"
    assert "release 9.1.0 runs again" in machine.run("dpkg", "-i", packages[BROKEN], check=False)
    assert cell.active
    machine.run("dpkg", "-i", packages["9.1.0"])
    assert cell.active
    assert cell.release == "9.1.0"

    machine.run("dpkg", "--remove", "edge-gateway")
    assert (inside / "etc/gateway/gateway.yaml").exists()
    assert any((inside / "var/lib/gateway").iterdir())
    assert not (inside / "opt/gateway/current").exists()
    assert not (inside / "etc/systemd/system/gateway.service").exists()
    machine.run("dpkg", "--purge", "edge-gateway")
    for path in ("etc/gateway", "var/lib/gateway", "var/cache/gateway", "opt/gateway"):
        assert not (inside / path).exists(), path
    assert "\ngateway:" not in (inside / "etc/passwd").read_text()
