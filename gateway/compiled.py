"""How every kernel of the gateway is compiled: numba without the interpreter lock, numpy's division, cached on disk.

Never fastmath: it deletes the tests for NaN. Where numba can't be loaded (a hardened unit that forbids writable and
executable memory) or the environment says so, a kernel is the plain function.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

CACHE_SWITCH: Final = "GATEWAY_KERNEL_CACHE"  # `off`: nothing is written to disk or read from it
F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """The function compiled at its first call; to be imported before any thread runs."""
    try:
        from numba import njit  # noqa: PLC0415  # only who has kernels pays for loading it
    except (ImportError, OSError):
        return function
    if os.environ.get(CACHE_SWITCH) != "off":
        try:
            return cast("F", njit(cache=True, nogil=True, error_model="numpy")(function))
        except RuntimeError:  # nowhere to write to: numba refuses when it decorates
            pass
    return cast("F", njit(nogil=True, error_model="numpy")(function))
