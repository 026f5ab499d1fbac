"""Tasks that stand and fall with one link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import LinkError


def _first(group: BaseExceptionGroup[LinkError]) -> LinkError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@asynccontextmanager
async def link_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup out of which a lost link comes as the LinkError it was; anything else stays a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        lost, rest = errors.split(LinkError)
        if rest is not None or lost is None:
            raise
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # Until Python 3.13 a TaskGroup forgets that it was cancelled when a task of it fails at the same time.
            raise asyncio.CancelledError from None
        raise _first(lost) from None
