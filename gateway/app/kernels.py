"""Makes every compiled kernel of the gateway ready: before the daemon is, and by `gateway warm`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.pipeline.cache import KernelCache, prepare_cache
from gateway.pipeline.warm import WarmReport, warm


def choose_cache() -> KernelCache:
    """The kernel cache; to be called before anything imports a kernel."""
    import gateway.codec  # noqa: PLC0415  # its path only; numba is loaded by what follows

    return prepare_cache(sorted(Path(gateway.codec.__file__).parent.glob("*.py")))


def warm_kernels(progress: Callable[[str, int, int], Any] | None = None) -> WarmReport:
    """Choose the kernel cache, then load or compile every kernel. A cache that can't be used is no failure."""
    return warm(choose_cache(), (), progress)
