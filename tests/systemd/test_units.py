"""The units as they lie in deploy/: understood by systemd, hardened, and the two of one kind."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES = ("gateway.service", "gateway@.service")


def needs(program: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("GATEWAY_REQUIRE_SYSTEMD"):
            pytest.fail(f"{program} is required here")
        pytest.skip(f"THE UNITS WERE NOT CHECKED: no {program}")


def executable(unit: str, folder: Path) -> Path:
    """The unit with a program that exists here, so that verify has nothing to say about it."""
    text = (DEPLOY / unit).read_text().replace("/opt/gateway/current/bin/gateway", "/usr/bin/env")
    (folder / unit).write_text(text)
    return folder / unit


@pytest.mark.parametrize("unit", [*SERVICES, "gateway.target"])
def test_systemd_has_nothing_to_say(unit: str, tmp_path: Path) -> None:
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(executable(unit, tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_verify_would_speak_up(tmp_path: Path) -> None:
    needs("systemd-analyze")
    path = executable("gateway.service", tmp_path)
    path.write_text(path.read_text().replace("WatchdogSec=30s", "WatchdogSecs=30s"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert "WatchdogSecs" in done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure(unit: str) -> None:
    needs("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", str(DEPLOY / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_differs_only_in_its_instance() -> None:
    one, many = ((DEPLOY / unit).read_text().splitlines() for unit in SERVICES)
    changed = [line for line in difflib.ndiff(one, many) if line.startswith("+ ")]
    assert changed
    assert all("%i" in line or "gateway.target" in line for line in changed), changed


def test_what_the_daemon_relies_on() -> None:
    text = (DEPLOY / "gateway.service").read_text()
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "KillMode=mixed",
        "Restart=always",
        "RestartPreventExitStatus=78",
        "StartLimitIntervalSec=0",
        "User=gateway",
        "SupplementaryGroups=dialout",
        "UMask=0077",
    ):
        assert line in text.splitlines(), line
    assert "MemoryDenyWriteExecute=" not in text  # kernels are compiled at run time
    assert "LoadCredential=" not in text  # a missing source would keep the daemon from starting


@pytest.mark.parametrize("script", sorted(path.name for path in DEPLOY.glob("*.sh")))
def test_scripts_are_clean(script: str) -> None:
    assert subprocess.run(["bash", "-n", str(DEPLOY / script)], check=False).returncode == 0
    assert os.access(DEPLOY / script, os.X_OK) == (script != "common.sh")  # which is sourced
    if shutil.which("shellcheck") is None:
        pytest.skip("THE SCRIPTS WERE NOT CHECKED: no shellcheck")
    done = subprocess.run(
        ["shellcheck", "--external-sources", f"--source-path={DEPLOY.parent}", str(DEPLOY / script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "script", sorted(each.name for each in DEPLOY.glob("*.sh") if each.name not in {"audit.sh", "common.sh"})
)
def test_scripts_explain_themselves_and_refuse_nonsense(script: str) -> None:
    helped = subprocess.run([str(DEPLOY / script), "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert helped.stdout.startswith("Usage: ")
    refused = subprocess.run([str(DEPLOY / script), "--nonsense"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "unknown option --nonsense" in refused.stderr
