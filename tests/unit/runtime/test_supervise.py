from __future__ import annotations

import asyncio
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LinkError, RefusedError
from gateway.runtime.supervise import Backoff, Link, end, supervise


def no_wait() -> Backoff:
    return Backoff(first=0.0001, longest=0.001)


@given(st.floats(0.01, 5), st.floats(5, 600), st.integers(0, 2**32))
def test_waits_double_up_to_the_longest_with_a_quarter_of_jitter(first: float, longest: float, seed: int) -> None:
    backoff = Backoff(first, longest, random.Random(seed))
    wanted = first
    for _ in range(20):
        wait = backoff.delay()
        assert 0.75 * wanted <= wait <= wanted
        wanted = min(2 * wanted, longest)
    backoff.reset()
    assert backoff.delay() <= first
    backoff.give_up()
    assert backoff.delay() >= 0.75 * longest


def test_jitter_spreads_a_fleet() -> None:
    waits = {Backoff(1.0, 30.0, random.Random(seed)).delay() for seed in range(50)}
    assert len(waits) == 50


async def test_a_lost_link_is_opened_again_until_the_body_returns() -> None:
    attempts = 0

    async def body(_: Link) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 5:
            raise LinkError("cable")

    await supervise("plc", body, no_wait())
    assert attempts == 5


async def test_other_errors_are_bugs_and_pass() -> None:
    async def body(_: Link) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await supervise("plc", body, no_wait())


async def test_cancelling_ends_it_in_the_wait_too() -> None:
    async def body(_: Link) -> None:
        raise LinkError("cable")

    task = asyncio.create_task(supervise("plc", body, Backoff(1000, 1000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_a_failure_swallowed_ends_it_all_the_same() -> None:
    attempts = 0

    async def body(_: Link) -> None:
        nonlocal attempts
        attempts += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LinkError("refused") from None

    task = asyncio.create_task(supervise("plc", body, no_wait()))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()
    assert attempts == 1


async def test_a_task_that_lost_its_cancellation_gets_another() -> None:
    lost: list[str] = []

    async def loses_one() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("one")
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(loses_one()), asyncio.create_task(asyncio.sleep(1000))]
    await asyncio.sleep(0)
    await end(tasks, 0.1)
    assert [task.cancelled() for task in tasks] == [True, True]
    assert lost == ["one"]
    await end([], 1000)


async def test_one_line_when_it_goes_down_and_one_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    attempts = 0

    async def body(link: Link) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 50:
            raise LinkError("no answer")
        link.worked()
        link.worked()

    with caplog.at_level(logging.INFO):
        await supervise("plc", body, no_wait())
    texts = [(record.levelname, record.getMessage().partition(" after ")[0]) for record in caplog.records]
    assert texts == [("WARNING", "plc: down: no answer"), ("INFO", "plc: back")]
    assert caplog.records[0].__dict__["link"] == "plc"


def test_a_new_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    link = Link("plc", no_wait())
    with caplog.at_level(logging.INFO):
        for reason in ("no answer", "no answer", "connection refused"):
            link.failed(LinkError(reason))
    assert [record.getMessage() for record in caplog.records] == [
        "plc: down: no answer",
        "plc: still down: connection refused",
    ]


def test_the_first_success_resets_the_wait() -> None:
    link = Link("plc", Backoff(1.0, 64.0))
    for _ in range(10):
        link.failed(LinkError("x"))
    link.worked()
    assert link.failed(LinkError("x")) <= 1.0
    assert link.error == "x"


def test_who_refuses_us_is_asked_seldom() -> None:
    link = Link("broker", Backoff(1.0, 64.0))
    assert link.failed(RefusedError("not authorised")) >= 48.0


def test_an_error_without_text_is_named() -> None:
    link = Link("plc", no_wait())
    link.failed(LinkError())
    assert link.error == "LinkError"


def test_progress_moves_with_success_and_attempt() -> None:
    link = Link("plc", no_wait())
    link.failed(LinkError("x"))
    link.worked()
    assert link.progress == 2
