"""Updates of an installation: a good one, a broken one, back to the one before, and any of them cut short."""

from __future__ import annotations

import random
import time

import pytest

from tests.fakes.installed import INSTALL, SHARE, Cell
from tests.fakes.waiting import wait_for
from tests.fakes.wheelhouse import BROKEN, UNIT_OF_BROKEN

pytestmark = [pytest.mark.endure, pytest.mark.timeout(2400), pytest.mark.releases("9.0.0", "9.1.0", BROKEN)]


def runs(cell: Cell, version: str) -> None:
    """The release is the one in use, from its unit to its process."""
    assert cell.active
    assert cell.release == version
    assert f"gateway {version}" in cell.machine.run("gateway", "--version")
    assert f"/releases/{version}/" in cell.machine.run("readlink", "-f", "/usr/local/bin/gateway")
    unit = (cell.machine.root / "etc/systemd/system/gateway.service").read_text()
    assert unit == (cell.machine.root / f"opt/gateway/releases/{version}/share/gateway/gateway.service").read_text()
    assert not (cell.machine.root / "opt/gateway/switching").exists()
    assert not (cell.machine.root / "opt/gateway/current.new").is_symlink()


def test_an_update_and_a_broken_one(cell: Cell) -> None:
    cell.machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    assert "release 9.0.0 runs: gateway.service" in cell.install("9.0.0")
    runs(cell, "9.0.0")
    assert "there is no release to go back to" in cell.machine.run(f"{SHARE}/install.sh", "--rollback", check=False)

    file = cell.machine.root / "etc/gateway/gateway.yaml"
    file.write_text(cell.config.replace("unit: 1", "unit: one"))
    running = cell.pid
    assert "refuses /etc/gateway/gateway.yaml" in cell.install("9.1.0", check=False)
    assert cell.pid == running
    file.write_text(cell.config)
    file.chmod(0o600)
    assert "user gateway may not read /etc/gateway/gateway.yaml" in cell.install("9.1.0", check=False)
    file.chmod(0o644)
    runs(cell, "9.0.0")

    planned = cell.install("9.1.0", "--dry-run")
    assert "would switch from release 9.0.0 to release 9.1.0 and restart: gateway.service" in planned
    assert "release 9.1.0 runs: gateway.service" in cell.install("9.1.0")
    runs(cell, "9.1.0")

    answer = cell.install(BROKEN, check=False)
    assert f"release {BROKEN} was taken back; release 9.1.0 runs again" in answer
    runs(cell, "9.1.0")
    assert UNIT_OF_BROKEN not in cell.machine.run("systemctl", "cat", "gateway")

    back = cell.machine.run(f"{SHARE}/install.sh", "--rollback", "--settle", "2")
    assert "release 9.0.0 runs" in back
    runs(cell, "9.0.0")
    releases = sorted(path.name for path in (cell.machine.root / "opt/gateway/releases").iterdir())
    assert releases == ["9.0.0", "9.1.0"]  # the one in use and the one before
    cell.delivers()


def test_an_installer_killed_at_any_moment_is_run_again(cell: Cell) -> None:
    cell.machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    began = time.monotonic()
    cell.install("9.0.0")
    whole_s = time.monotonic() - began
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    cut = 0
    for wanted in ("9.1.0", "9.0.0", "9.1.0"):
        cell.machine.run("rm", "-rf", f"/opt/gateway/releases/{wanted}")  # so that there is something to cut short
        for _ in range(3):
            after = f"{chance.uniform(0.01, 0.9) * whole_s:.2f}"
            answer = cell.machine.run("timeout", "-s", "KILL", after, *INSTALL, "--version", wanted, check=False)
            cut += "runs: gateway.service" not in answer
        assert f"release {wanted} runs: gateway.service" in cell.install(wanted)
        runs(cell, wanted)
    assert cut >= 2
    cell.delivers()


def test_a_switch_cut_short_is_taken_back_by_the_next_run(cell: Cell) -> None:
    cell.machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    cell.install("9.0.0")
    installer = cell.machine.start("setsid", "sh", "-c", 'echo $$ >/run/installer; exec "$@"', "sh", *INSTALL)
    wait_for(lambda: cell.release == BROKEN, "the switch", 600)
    for program in ("install.sh", "uninstall.sh"):
        assert "another install.sh or uninstall.sh is running" in cell.machine.run(
            f"/media/wheels/{program}", check=False
        )
    cell.machine.run("sh", "-c", "kill -KILL -- -$(cat /run/installer)")
    installer.wait(timeout=20)
    answer = cell.machine.run("/opt/gateway/releases/9.0.0/share/gateway/install.sh", "--rollback", "--settle", "2")
    assert "going back to release 9.0.0" in answer
    runs(cell, "9.0.0")


def test_a_release_whose_python_is_gone_is_made_again(cell: Cell) -> None:
    """As after an upgrade of Debian: the packages lie in the folder of a Python that no longer runs them."""
    cell.machine.run("mkdir", "-p", "/etc/gateway/secrets")
    cell.configure()
    cell.install("9.0.0")
    cell.machine.run(
        "sh", "-c", "mv /opt/gateway/releases/9.0.0/lib/python3.* /opt/gateway/releases/9.0.0/lib/python3.9"
    )
    assert "installing release 9.0.0" in cell.install("9.0.0")
    runs(cell, "9.0.0")
