"""Releases to install: this tree under other version numbers, sound or broken, each in a folder with its wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.fakes.nspawn import cache

TREE = Path(__file__).parents[2]
BROKEN = "9.2.0"  # ends as soon as it is run, and has another unit
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
UNIT_OF_BROKEN = "Environment=UNIT_OF_THE_BROKEN_RELEASE=1"


def wheelhouse(suite: str, versions: Iterable[str]) -> Path:
    """A folder made by make-wheelhouse.sh that holds these releases for a Debian; the newest version comes last."""
    with cache() as place:
        folder = place / f"wheels-{suite}"
        for old in folder.glob("edge_gateway-*"):
            old.unlink()
        for version in versions:
            source = place / "tree"
            shutil.rmtree(source, ignore_errors=True)
            copy_tree(source, version)
            subprocess.run(
                [str(source / "deploy/make-wheelhouse.sh"), str(folder), "--python", PYTHON[suite]],
                env={**os.environ, "PYTHON": sys.executable},
                check=True,
            )
        return folder


def copy_tree(target: Path, version: str) -> None:
    """This tree as another release."""
    for name in ("gateway", "config", "deploy"):
        shutil.copytree(TREE / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(TREE / name, target / name)
    (target / "gateway/__init__.py").write_text(f'"""The gateway."""\n\n__version__ = "{version}"\n')
    if version == BROKEN:
        app = target / "gateway/app/__init__.py"
        app.write_text(
            re.sub(r"(def run_daemon\(.*\n)", r'\1    raise SystemExit("broken release")\n', app.read_text())
        )
        unit = target / "deploy/gateway.service"
        unit.write_text(unit.read_text().replace("[Service]\n", f"[Service]\n{UNIT_OF_BROKEN}\n"))
