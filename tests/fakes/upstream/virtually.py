"""An upstream in virtual time: what must not happen for a minute is seen in a moment."""

from __future__ import annotations

from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from gateway.errors import LinkError
from gateway.upstream.client import BROKEN, Client
from gateway.upstream.connect import Dialer, connect
from gateway.upstream.plan import Plan
from tests.fakes.virtual_time import run_wired

T = TypeVar("T")


async def _dial(dialer: Dialer, client: Client, plan: Plan, timeout_s: float) -> None:
    """Connect while the loop stands still: the listener's backlog takes the connection, and no virtual time passes."""
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(connect, client, plan).result()
    except BROKEN as error:
        raise LinkError(str(error)) from error


def virtually(monkeypatch: pytest.MonkeyPatch, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, the broker in the same loop, on plain TCP."""
    monkeypatch.setattr(Dialer, "dial", _dial)
    return run_wired(main)
