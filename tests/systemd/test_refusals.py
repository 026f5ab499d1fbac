"""What install.sh refuses, each in one line; always with --dry-run, and on a machine that pretends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
WHEEL = "edge_gateway-9.0.0-py3-none-any.whl"
FINE = {"id": "0", "getconf": "64", "df": "Avail\n 5000", "systemctl": ""}


def install(folder: Path, *arguments: str, machine: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """install.sh where programs of these names say these things."""
    programs = folder / "programs"
    programs.mkdir()
    for name, answer in (FINE | machine).items():
        (programs / name).write_text(f"#!/bin/sh\nprintf '%s\\n' '{answer}'\n")
        (programs / name).chmod(0o755)
    (programs / "python3").write_text(
        '#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; --version) echo Python 3.9.2 ;; esac\n'
    )
    (programs / "python3").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    if "python3" in machine:
        environment["PYTHON"] = str(programs / "python3")
    return subprocess.run(
        [str(DEPLOY / "install.sh"), "--dry-run", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("machine", "refusal"),
    [
        ({"id": "1000"}, "run it as root: sudo "),
        ({"getconf": "32"}, "a 64-bit system is needed"),
        ({"df": "Avail\n 400"}, "has 400 MiB free, 800 are needed"),
        ({"python3": ""}, "Python 3.11 or newer is needed, this is Python 3.9.2"),
    ],
)
def test_a_machine_it_can_not_run_on(tmp_path: Path, machine: dict[str, str], refusal: str) -> None:
    done = install(tmp_path, machine=machine)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("install.sh: ")
    assert refusal in line


def test_a_machine_it_runs_on(tmp_path: Path) -> None:
    done = install(tmp_path, machine={})
    assert (done.returncode, done.stderr) == (0, "")
    assert "would run: /usr/bin/python3 -m venv /opt/gateway/releases/" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["--offline"], "--offline needs a folder"),
        (["--offline", "/nowhere/at/all"], "no such folder: /nowhere/at/all"),
        (["--version", "../../etc"], "not a version: ../../etc"),
        (["--version", "99.0.0"], "this tree is release "),
        (["--settle", "soon"], "--settle needs whole seconds: soon"),
        (["--rollback"], "there is no release to go back to"),
    ],
)
def test_what_it_can_not_do(tmp_path: Path, arguments: list[str], refusal: str) -> None:
    done = install(tmp_path, *arguments, machine={})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"install.sh: {refusal}")


@pytest.mark.parametrize(
    ("files", "refusal"),
    [
        ({}, "holds no release of the gateway"),
        ({WHEEL: "wheel"}, "is damaged or incomplete: sha256sum: SHA256SUMS: No such file"),
        ({WHEEL: "wheel", "SHA256SUMS": f"{'0' * 64}  {WHEEL}\n"}, f"is damaged or incomplete: {WHEEL}: FAILED"),
    ],
)
def test_a_folder_that_is_no_wheelhouse(tmp_path: Path, files: dict[str, str], refusal: str) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    done = install(tmp_path, "--offline", str(folder), machine={})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert refusal in line
