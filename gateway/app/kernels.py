"""Makes every compiled kernel of the gateway ready: before the daemon is, and by `gateway warm`."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.pipeline.cache import KernelCache, prepare_cache
from gateway.pipeline.settings import STEPS
from gateway.pipeline.warm import WarmReport, warm
from gateway.readings import Quality, Readings, Tag, TagTable

log = logging.getLogger(__name__)

_HOUR_NS: Final = 3_600_000_000_000


def choose_cache() -> KernelCache:
    """The kernel cache; to be called before anything imports a kernel."""
    import gateway.codec  # noqa: PLC0415  # its path only; numba is loaded by what follows

    return prepare_cache(sorted(Path(gateway.codec.__file__).parent.glob("*.py")))


async def compile_aside() -> None:
    """Where the cache is not complete, compile in a child process: the compiler's 150 MB end with it.

    A child that fails is no failure: `warm_kernels` then compiles here.
    """
    cache = choose_cache()
    if cache.final is None or cache.directory is None:
        return
    shutil.rmtree(cache.directory, ignore_errors=True)
    log.info("compiling the kernels: this start takes a while, later ones don't")
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    command = (sys.executable, "-m", "gateway", "warm", "--json")
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, env=environment)
    try:
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()


def warm_kernels(progress: Callable[[str, int, int], Any] | None = None) -> WarmReport:
    """Choose the kernel cache, then load or compile every kernel. A cache that can't be used is no failure."""
    cache = choose_cache()
    from gateway.codec import jsontext, sparkplug  # noqa: PLC0415  # imports kernels: behind the choice of the cache
    from gateway.codec import warm as codec  # noqa: PLC0415  # imports kernels: behind the choice of the cache

    extra = [
        ("codec", codec.warm),
        ("json", jsontext.warm),
        ("sparkplug", sparkplug.warm),
        ("derived", _derived),
        ("alarms", _alarms),
        ("certificates", _certificates),
        ("replay", _replay),
    ]
    return warm(cache, extra, progress)


def _rows() -> Readings:
    value, quality = np.array([0.0, np.nan, 2.0, 0.0]), np.array([0, Quality.BAD_LINK, 0, 0], np.uint8)
    return Readings(np.zeros(4, np.uint32), np.arange(4, dtype=np.int64) * _HOUR_NS, value, quality)


def _silent(kind: str, time_ns: int, fields: Mapping[str, object]) -> None:
    """An event of the warm-up, which nobody needs."""


def _derived() -> None:
    from gateway.pipeline.derived import Derived, DerivedSettings  # noqa: PLC0415  # imports kernels

    settings = DerivedSettings.model_validate({"tags": {"up": {"expression": "warm.up * 2"}}})
    Derived(TagTable([Tag("warm", "up"), Tag("derived", "up")]), settings).process(_rows())


def _alarms() -> None:
    from gateway.pipeline.alarms import Alarms, AlarmSettings  # noqa: PLC0415  # imports kernels

    alarms = Alarms(TagTable([Tag("warm", "up")]), {0: AlarmSettings(high=1.0)}, _silent)
    alarms.check(_rows())
    alarms.tick(5 * _HOUR_NS)


def _certificates() -> None:
    from gateway.pipeline.certificate import Certificates  # noqa: PLC0415  # imports kernels

    for step in ({"deadband": {"absolute": 1}}, {"swinging-door": {"deviation": 1}}):
        certificates = Certificates(TagTable([Tag("warm", "up")]), {0: STEPS.validate_python([step])}, _silent)
        certificates.before(_rows())
        certificates.after(_rows())
        certificates.tick(_HOUR_NS)
        certificates.tick(5 * _HOUR_NS)


def _replay() -> None:
    from gateway.pipeline.kernels.rebuild import rebuild  # noqa: PLC0415  # imports kernels

    rows = _rows()
    columns = rows.time_ns, rows.value, rows.quality
    for linear in (True, False):
        rebuild(*columns, *columns, linear, np.empty(len(rows)))
