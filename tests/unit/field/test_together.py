from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.errors import LinkError
from gateway.field.together import link_group


async def fail(error: Exception, when: asyncio.Event | None = None) -> None:
    if when is not None:
        await when.wait()
    raise error


async def forever() -> None:
    await asyncio.Event().wait()


async def together(*bodies: Coroutine[Any, Any, None]) -> None:
    """All but the last as tasks, the last as the body."""
    async with link_group() as group:
        for body in bodies[:-1]:
            group.create_task(body)
        await bodies[-1]


async def test_a_lost_link_comes_out_as_itself() -> None:
    with pytest.raises(LinkError, match="gone"):
        await together(fail(LinkError("gone")), forever())


async def test_a_lost_link_in_the_body_comes_out_as_itself() -> None:
    with pytest.raises(LinkError, match="gone"):
        await together(forever(), fail(LinkError("gone")))


async def test_a_bug_stays_a_group() -> None:
    with pytest.raises(ExceptionGroup) as errors:
        await together(fail(LinkError("gone")), fail(ZeroDivisionError()), forever())
    assert errors.group_contains(ZeroDivisionError)


async def test_a_link_lost_while_we_are_cancelled_does_not_undo_the_cancelling() -> None:
    lose, entered = asyncio.Event(), asyncio.Event()

    async def body() -> None:
        async with link_group() as group:
            group.create_task(fail(LinkError("gone"), lose))
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await entered.wait()
    await asyncio.sleep(0)
    lose.set()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
