"""Makes every compiled kernel of the gateway ready: before the daemon is, and by `gateway warm`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.pipeline.cache import prepare_cache
from gateway.pipeline.warm import WarmReport, warm


def warm_kernels(progress: Callable[[str, int, int], Any] | None = None) -> WarmReport:
    """Choose the kernel cache, then load or compile every kernel. A cache that can't be used is no failure."""
    import gateway.codec  # noqa: PLC0415  # its path only; numba is loaded by what follows

    cache = prepare_cache(sorted(Path(gateway.codec.__file__).parent.glob("*.py")))
    return warm(cache, (), progress)
