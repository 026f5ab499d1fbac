"""Calls every kernel once, with the very dtypes and layouts it will meet, so that none is compiled or loaded later.

Done by `gateway warm` at install time, and by the daemon before it is ready.
"""

from __future__ import annotations

import logging
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from gateway.pipeline.cache import KernelCache, empty, seal
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import KINDS, STEPS, computed
from gateway.readings import Quality, Readings, Tag, TagTable

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # what comes now, parts done, parts in all
_ATTEMPTS: Final = 3
_ROWS: Final = 200
# What numba raises for damaged or half-written files, and for a disk that is full.
_CACHE_ERRORS: Final = (
    OSError,
    EOFError,
    pickle.PickleError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    LookupError,
)
_SETTINGS: Final[Mapping[str, Mapping[str, object]]] = {
    "smooth": {"time_constant": "1s"},
    "vibration": {"window": 8, "bands": {"all": {"low": 0, "high": 1}}},
    "aggregate": {
        "every": "1s",
        "compute": ["min", "max", "mean", "std", "count", "last", "integral"],
    },
    "deadband": {"absolute": 1},
    "swinging-door": {"deviation": "auto"},
}


@dataclass(frozen=True, slots=True)
class WarmReport:
    """What a warm-up did. `problem` is empty unless the cache is off or was found damaged."""

    kernels: int  # compiled functions that are ready now
    compiled: int  # of them, compiled and not loaded from the cache
    seconds: float
    cache: KernelCache
    problem: str = ""


def warm(
    cache: KernelCache, extra: Sequence[tuple[str, Callable[[], object]]] = (), progress: Progress | None = None
) -> WarmReport:
    """Make all kernels ready: the pipeline's and those that `extra` (name, call) calls. No cache is no failure."""
    started = time.perf_counter()
    parts: list[tuple[str, Callable[[], object]]] = [*((kind, partial(_family, kind)) for kind in KINDS), *extra]
    problem = cache.problem
    for number, (name, part) in enumerate(parts):
        if progress is not None:
            progress(name, number, len(parts))
        problem = _guarded(part, cache) or problem
    try:
        cache = seal(cache)
    except OSError as error:
        problem = f"the kernel cache can't be sealed: {error}"
        log.warning("%s", problem)
    found = compiled_functions().values()
    fresh = sum(bool(function.stats.cache_misses) for function in found)
    return WarmReport(len(found), fresh, time.perf_counter() - started, cache, problem)


def compiled_functions() -> dict[str, Any]:
    """The compiled functions of all modules of the gateway that are loaded, by name; each has `signatures`."""
    return {
        f"{module.__name__}.{name}": function
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("gateway.")
        for name, function in vars(module).items()
        if hasattr(function, "signatures") and hasattr(function, "py_func") and function.__module__ == module.__name__
    }


def _guarded(part: Callable[[], object], cache: KernelCache) -> str:
    """Call a part; where the cache fails, empty it, then do without. Returns what was wrong with the cache."""
    problem = ""
    for attempt in range(_ATTEMPTS):
        try:
            part()
        except _CACHE_ERRORS as error:
            if attempt == _ATTEMPTS - 1 or cache.directory is None:
                raise
            problem = f"the kernel cache fails: {type(error).__name__}: {error}"
            log.warning("%s", problem)
            _reset(cache, switch_off=attempt > 0)
        else:
            break
    return problem


def _reset(cache: KernelCache, *, switch_off: bool) -> None:
    with suppress(OSError):
        empty(cache)
    if switch_off:
        for function in compiled_functions().values():
            function._cache.disable()  # noqa: SLF001  # numba offers no other way once a function is decorated


def _family(kind: str) -> None:
    """Send usual and odd rows through one step, with everything the engine can ask of it."""
    steps = STEPS.validate_python([{kind: _SETTINGS.get(kind, {})}])
    tag = Tag("warm", "up")
    table = TagTable([tag, *computed(tag, steps)])
    pipeline = Pipeline(table, {0: steps})
    random = np.random.default_rng(1)
    value = random.normal(size=_ROWS)
    quality = np.zeros(_ROWS, np.uint8)
    value[_ROWS // 2], quality[_ROWS // 2] = np.nan, Quality.BAD_TIMEOUT
    time_ns = np.arange(_ROWS, dtype=np.int64) * 100_000_000
    pipeline.process(Readings(np.zeros(_ROWS, np.uint32), time_ns, value, quality))
    later = Pipeline(table, {0: steps})
    later.adopt(pipeline)
    later.tick(int(time_ns[-1]) + 10_000_000_000)
    later.flush()
