"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Return once the condition holds; TimeoutError after `deadline_s`."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  # any condition at all, nobody sets an event for it
            await asyncio.sleep(0.01)


def wait_for(condition: Callable[[], T], what: str, deadline_s: float = 120.0) -> T:
    """The first true value the callable gives; AssertionError naming `what` after `deadline_s`. Not for event loops."""
    end = time.monotonic() + deadline_s
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {deadline_s} s for {what}"
        time.sleep(0.1)
    return found
