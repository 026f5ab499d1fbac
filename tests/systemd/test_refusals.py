"""What install.sh refuses, each in one line; always with --dry-run, and on a machine that pretends."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
WHEEL = "edge_gateway-9.0.0-py3-none-any.whl"
FINE = {"id": "0", "getconf": "64", "df": "Avail\n 5000", "systemctl": ""}


def install(
    folder: Path, *arguments: str, machine: dict[str, str], signers: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """install.sh where programs of these names say these things, and a machine that takes releases of these signers."""
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
    environment["SIGNERS"] = str(signers or folder / "nobody")
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


def wheelhouse(folder: Path) -> Path:
    """A folder with a release and its sums; nothing in it is looked into by a dry run."""
    folder.mkdir()
    sums = ""
    for name in (WHEEL, "requirements-9.0.0.txt"):
        (folder / name).write_text(name)
        sums += f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def key(folder: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return folder / name


def sign(wheels: Path, with_key: Path) -> None:
    (wheels / "SHA256SUMS.sig").unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(with_key), "-n", "edge-gateway", str(wheels / "SHA256SUMS")]
    subprocess.run(command, check=True)


def test_a_signed_release_is_taken_and_no_other(tmp_path: Path) -> None:
    ours, theirs = key(tmp_path, "ours"), key(tmp_path, "theirs")
    signers = tmp_path / "release-signers"
    signers.write_text(f"edge-gateway {ours.with_suffix('.pub').read_text()}")
    wheels = wheelhouse(tmp_path / "wheels")

    def refusal(case: str) -> str:
        (tmp_path / case).mkdir()
        done = install(tmp_path / case, "--offline", str(wheels), machine={}, signers=signers)
        assert (done.returncode == 0) == (not done.stderr)
        return done.stderr

    assert "is not signed by a key in" in refusal("unsigned")
    sign(wheels, theirs)
    assert "is not signed by a key in" in refusal("signed by others")
    sign(wheels, ours)
    assert not refusal("signed")
    with (wheels / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(b'').hexdigest()}  {os.devnull}\n")
    assert "is not signed by a key in" in refusal("changed behind the signature")


def test_what_the_sums_do_not_list_is_not_installed(tmp_path: Path) -> None:
    wheels = wheelhouse(tmp_path / "wheels")
    newer = WHEEL.replace("9.0.0", "9.0.1")
    (wheels / newer).write_text("put in later")
    done = install(tmp_path, "--offline", str(wheels), machine={})
    assert done.returncode == 1
    assert f"{newer} is not listed in SHA256SUMS" in done.stderr
