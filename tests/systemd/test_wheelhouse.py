"""The folder for machines without a network is complete: for both Debians, for Intel and for ARM. Needs a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy/requirements.lock"
GLIBC = {"3.11": 36, "3.13": 41}  # of Debian 12 and 13


def environment(python: str, arch: str) -> dict[str, str]:
    """What markers are read for."""
    return {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": arch, "extra": ""}


def pins(text: str, python: str, arch: str = "x86_64") -> dict[str, str]:
    """The lines of a lock file that count for a Python on a machine, by the package's name."""
    target = environment(python, arch)
    found: dict[str, str] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line and not line.startswith("#"):
            asked = Requirement(line.split(" --hash=")[0])
            if asked.marker is None or asked.marker.evaluate(target):
                found[canonicalize_name(asked.name)] = line
    return found


@pytest.mark.parametrize("python", GLIBC)
def test_the_lock_holds_what_the_package_asks_for(python: str) -> None:
    locked = pins(LOCK.read_text(), python)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in project["dependencies"]:
        asked = Requirement(line)
        version = locked[canonicalize_name(asked.name)].split()[0].partition("==")[2]
        assert asked.specifier.contains(version), line
    assert "hatchling" in pins((ROOT / "deploy/build.lock").read_text(), python)


@pytest.mark.endure
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_wheelhouse_serves_both_debians(arch: str, tmp_path: Path) -> None:
    wheels, key, signers = tmp_path / "wheels", tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers.write_text(f"edge-gateway {key.with_suffix('.pub').read_text()}")
    subprocess.run(
        [str(ROOT / "deploy/make-wheelhouse.sh"), str(wheels), "--arch", arch, "--sign", str(key)],
        env={**os.environ, "PYTHON": sys.executable},
        check=True,
    )
    assert subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=wheels, check=False).returncode == 0
    verify = f"ssh-keygen -q -Y verify -f {signers} -I edge-gateway -n edge-gateway -s SHA256SUMS.sig <SHA256SUMS"
    assert subprocess.run(verify, shell=True, cwd=wheels, check=False).returncode == 0  # noqa: S602  # paths of this test
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[arch]
    assert [path.name for path in wheels.iterdir() if other in path.name] == []
    assert list(wheels.glob("*.tar.gz")) == []
    [requirements] = wheels.glob("requirements-*.txt")
    for python, glibc in GLIBC.items():
        chosen = choose(wheels, pins(requirements.read_text(), python, arch), python, glibc, arch)
        assert chosen.keys() >= {"edge-gateway", "llvmlite", "numpy", "orjson", "cryptography", "zstandard"}
        assert f"-cp{python.replace('.', '')}-" in chosen["numba"].name
        assert arch in chosen["numba"].name
        for name, wheel in chosen.items():
            lacking = {need for need in needs(wheel, environment(python, arch)) if need not in chosen}
            assert lacking == set(), name


def choose(wheels: Path, lines: dict[str, str], python: str, glibc: int, arch: str) -> dict[str, Path]:
    """The wheels that pip takes for a target from the folder alone, by package; it fails where it lacks one."""
    report, wanted = wheels.parent / "report.json", wheels.parent / "wanted.txt"
    wanted.write_text("".join(f"{line.split()[0]} {line[line.index('--hash') :]}\n" for line in lines.values()))
    tags = [f"manylinux_2_{minor}_{arch}" for minor in range(glibc, 4, -1)]
    tags += [f"manylinux{legacy}_{arch}" for legacy in ("2014", "2010", "1")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", str(report)]
    command += ["--no-index", "--find-links", str(wheels), "--only-binary", ":all:", "--require-hashes"]
    command += ["--no-deps", "--ignore-requires-python"]  # pip asks for the Python it runs on, not for the target's
    command += ["--target", str(wheels.parent / "nothing"), "--python-version", python, "--implementation", "cp"]
    command += [part for tag in tags for part in ("--platform", tag)]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    subprocess.run([*command, "-r", str(wanted)], check=True, env=alone | {"PIP_CONFIG_FILE": os.devnull})
    return {
        canonicalize_name(item["metadata"]["name"]): wheels / item["download_info"]["url"].rpartition("/")[2]
        for item in json.loads(report.read_text())["install"]
    }


def needs(wheel: Path, target: dict[str, str]) -> set[str]:
    """The packages a wheel requires on a target."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
    asked = [Requirement(line.partition(": ")[2]) for line in lines if line.startswith("Requires-Dist: ")]
    return {canonicalize_name(each.name) for each in asked if each.marker is None or each.marker.evaluate(target)}
