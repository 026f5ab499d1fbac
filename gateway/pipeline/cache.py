"""The directory compiled kernels are kept in: found, probed and verified before numba is imported.

numba trusts what lies there (pickles and machine code) and notices neither damage nor a change in another file. So the
directory is ours alone, its name holds a digest of all sources a kernel depends on, and a manifest with a SHA-256 of
each file is written after warm-up, all synced. What doesn't match the manifest is deleted and compiled again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gateway import __version__
from gateway.compiled import CACHE_SWITCH

log = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"
_PACKAGE: Final = Path(__file__).parents[1]
_FREE: Final = 64 << 20  # bytes that must be free: numba answers a full disk with half a file
_UNUSED_S: Final = 30 * 86400.0
_SIBLINGS: Final = "kernels-*"


@dataclass(frozen=True, slots=True)
class KernelCache:
    """Where kernels are kept; None: nowhere, they are compiled at every start. `problem` says what is wrong, if any."""

    directory: Path | None
    problem: str = ""


def prepare_cache(sources: Iterable[Path] = (), environment: Mapping[str, str] | None = None) -> KernelCache:
    """Choose and check the directory and tell numba. To be called before any kernel is imported; never raises.

    It lies in $CACHE_DIRECTORY (systemd), else in the user's cache. `sources` are files with kernels beyond the
    pipeline's own, or constants those use.
    """
    environment = os.environ if environment is None else environment
    try:
        directory = _place(environment) / f"kernels-{__version__}-{_digest(sources)}"
        problem = _usable(directory) or _verified(directory)
    except (OSError, RuntimeError) as error:
        log.warning("kernels are compiled at every start: no cache directory can be used: %s", error)
        _switch(None)
        return KernelCache(None, str(error))
    if problem:
        log.warning("kernel cache %s: %s; kernels are compiled again", directory, problem)
    _switch(directory)
    return KernelCache(directory, problem)


def seal(cache: KernelCache) -> None:
    """Sync a changed cache, write its manifest, remove caches nobody sealed for 30 days. OSError: not done."""
    if cache.directory is None:
        return
    found = _hashes(cache.directory)
    if found == _manifest(cache.directory):
        os.utime(cache.directory)
        return
    for name in found:
        _sync(cache.directory / name)
    for directory in sorted({(cache.directory / name).parent for name in found}):
        _sync(directory)
    fresh = cache.directory / f"{MANIFEST}.new"
    fresh.write_text(json.dumps(found, indent=0, sort_keys=True), encoding="utf-8")
    _sync(fresh)
    fresh.replace(cache.directory / MANIFEST)
    _sync(cache.directory)
    for other in cache.directory.parent.glob(_SIBLINGS):
        if other != cache.directory and time.time() - other.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)


def empty(cache: KernelCache) -> None:
    """Delete what the cache holds; what can't be deleted stays."""
    if cache.directory is not None:
        for entry in cache.directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _place(environment: Mapping[str, str]) -> Path:
    given = environment.get("CACHE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    user = environment.get("XDG_CACHE_HOME", "")
    return Path(user) / "gateway" if user else Path.home() / ".cache" / "gateway"


def _digest(sources: Iterable[Path]) -> str:
    """16 hex digits over everything compiled code depends on but numba's own index doesn't see."""
    own = [*(_PACKAGE / "pipeline" / "kernels").glob("*.py"), _PACKAGE / "compiled.py", _PACKAGE / "readings.py"]
    digest = hashlib.blake2b(digest_size=8)
    for part in (platform.python_version(), platform.machine(), *map(version, ("numba", "llvmlite", "numpy"))):
        digest.update(part.encode() + b"\0")
    for path in sorted({*own, *sources}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _usable(directory: Path) -> str:
    """Make the directory and try it; OSError where it can't be used."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise PermissionError(f"{directory} can be written by others: code is loaded from there")
    free = os.statvfs(directory)
    if free.f_bavail * free.f_frsize < _FREE:
        raise OSError(f"less than {_FREE >> 20} MiB are free below {directory}")
    probe = directory / ".probe"
    probe.write_bytes(b"\0" * 4096)
    probe.unlink()
    return ""


def _verified(directory: Path) -> str:
    """Empty the directory unless it holds exactly what its manifest says; returns why, empty where it does."""
    found, known = _hashes(directory), _manifest(directory)
    if found == known:
        return ""
    empty(KernelCache(directory))
    if not found:
        return "" if not known else "its files are gone"
    return "a warm-up was interrupted" if not known else "it doesn't match its manifest"


def _hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, ".probe"}
    }


def _manifest(directory: Path) -> dict[str, str]:
    try:
        known = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _switch(directory: Path | None) -> None:
    if directory is None:
        os.environ.pop("NUMBA_CACHE_DIR", None)
        os.environ[CACHE_SWITCH] = "off"
    else:
        os.environ["NUMBA_CACHE_DIR"] = str(directory)
        os.environ.pop(CACHE_SWITCH, None)
    loaded = sys.modules.get("numba")
    if loaded is not None:  # it read its environment when it was imported
        loaded.config.CACHE_DIR = str(directory or "")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
