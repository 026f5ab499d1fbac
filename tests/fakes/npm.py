"""Node programs for tests: a folder with its npm packages, installed at first use into a cache outside the project."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

INSTALL = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]


def missing() -> str:
    """Why it can't be had, empty where it can."""
    return "" if shutil.which("node") and shutil.which("npm") else "needs node and npm"


def installed(source: Path) -> Path:
    """A copy of a folder beside its packages; RuntimeError with npm's words where they can't be had."""
    if missing():
        raise RuntimeError(missing())
    cache = Path(tempfile.gettempdir()) / f"edge-gateway-{source.name.replace('_', '-')}"
    cache.mkdir(exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        wanted, kept = (source / "package.json").read_text(), cache / "package.json"
        if not (cache / "node_modules").exists() or not kept.exists() or kept.read_text() != wanted:
            kept.write_text(wanted)
            done = subprocess.run(INSTALL, cwd=cache, capture_output=True, timeout=50, check=False)
            if done.returncode:
                kept.unlink()
                raise RuntimeError(f"npm install: {done.stderr.decode()[-300:]}")
        for file in source.glob("*.js"):
            shutil.copy(file, cache / file.name)
    return cache
