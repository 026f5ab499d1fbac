"""The directory compiled kernels are kept in: found, probed and verified before numba is imported.

numba trusts what lies there (pickles and machine code) and notices neither damage nor a change in another file. So the
directory is ours alone, its name holds a digest of all a kernel depends on, and it holds a manifest with a SHA-256 of
each file. It is made aside, synced, and renamed into place when the warm-up is through, so that of several processes
that start at once none sees or disturbs what another has half done:

    building-xxxx  --warm-up, sync, manifest, rename-->  kernels-<version>-<digest>
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
import tempfile
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
_DEBRIS_S: Final = 86400.0
_BUILDING: Final = "building-"


@dataclass(frozen=True, slots=True)
class KernelCache:
    """Where kernels are kept; None: nowhere, they are compiled at every start. `problem` says what is wrong, if any."""

    directory: Path | None
    problem: str = ""
    final: Path | None = None  # where the directory goes once it is complete; None: it is there


def prepare_cache(sources: Iterable[Path] = (), environment: Mapping[str, str] | None = None) -> KernelCache:
    """Choose and check the directory and tell numba. To be called before any kernel is imported; never raises.

    It lies in $CACHE_DIRECTORY (systemd), else in the user's cache. `sources` are files with kernels beyond the
    pipeline's own, or constants those use.
    """
    environment = os.environ if environment is None else environment
    try:
        place = _place(environment)
        _probe(place)
        final = place / f"kernels-{__version__}-{_digest(sources)}"
        problem = _verified(final) if final.exists() else ""
        if final.exists() and not problem:
            cache = KernelCache(final)
        else:
            shutil.rmtree(final, ignore_errors=True)
            cache = KernelCache(Path(tempfile.mkdtemp(prefix=_BUILDING, dir=place)), problem, final)
    except (OSError, RuntimeError) as error:
        log.warning("kernels are compiled at every start: no cache directory can be used: %s", error)
        _switch(None)
        return KernelCache(None, str(error))
    if problem:
        log.warning("kernel cache %s: %s; kernels are compiled again", final, problem)
    _switch(cache.directory)
    return cache


def seal(cache: KernelCache) -> KernelCache:
    """Sync a changed cache, write its manifest and put it in place; returns it as it stands then. OSError: not done.

    Caches that nobody sealed for 30 days go.
    """
    directory = cache.directory
    if directory is None:
        return cache
    found = _hashes(directory)
    if found != _manifest(directory):
        _write_manifest(directory, found)
    os.utime(directory)
    if cache.final is not None:
        try:
            directory.rename(cache.final)
        except OSError:
            if not cache.final.exists():
                raise
            shutil.rmtree(directory, ignore_errors=True)  # another process was faster
        directory = cache.final
        _sync(directory.parent)
        _switch(directory)
    for other in directory.parent.iterdir():
        longest = {_BUILDING: _DEBRIS_S, "kernels-": _UNUSED_S}.get(other.name.partition("-")[0] + "-")
        if other != directory and longest is not None and time.time() - other.stat().st_mtime > longest:
            shutil.rmtree(other, ignore_errors=True)
    return KernelCache(directory, cache.problem)


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
    for part in (
        str(_PACKAGE),
        platform.python_version(),
        platform.machine(),
        *map(version, ("numba", "llvmlite", "numpy")),
    ):
        digest.update(part.encode() + b"\0")
    for path in sorted({*own, *sources}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _probe(place: Path) -> None:
    """Make the directory and try it; OSError where it can't be used."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _open_to_others(place):
        raise PermissionError(f"{place} can be written by others: code is loaded from there")
    free = os.statvfs(place)
    if free.f_bavail * free.f_frsize < _FREE:
        raise OSError(f"less than {_FREE >> 20} MiB are free below {place}")
    handle, name = tempfile.mkstemp(prefix=".probe-", dir=place)
    try:
        os.write(handle, b"\0" * 4096)
    finally:
        os.close(handle)
        Path(name).unlink()


def _open_to_others(place: Path) -> bool:
    status = place.stat()
    return status.st_uid != os.geteuid() or bool(stat.S_IMODE(status.st_mode) & 0o022)


def _verified(directory: Path) -> str:
    """Why the directory can't be trusted; empty where it holds exactly what its manifest says."""
    if _open_to_others(directory):
        return "it can be written by others"
    return "" if _hashes(directory) == _manifest(directory) else "it doesn't match its manifest"


def _write_manifest(directory: Path, found: Mapping[str, str]) -> None:
    for name in found:
        _sync(directory / name)
    for parent in sorted({(directory / name).parent for name in found}):
        _sync(parent)
    fresh = directory / f"{MANIFEST}.new"
    fresh.write_text(json.dumps(found, indent=0, sort_keys=True), encoding="utf-8")
    _sync(fresh)
    fresh.replace(directory / MANIFEST)
    _sync(directory)


def _hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in {MANIFEST, f"{MANIFEST}.new"}
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
