"""The one place where a lost link is tried again: exponential backoff with jitter, one log line per outage and end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from gateway.errors import LinkError, RefusedError

log = logging.getLogger(__name__)


@dataclass
class Backoff:
    """Waits of `first`, doubled each time up to `longest` seconds, each shortened by up to a quarter at random."""

    first: float = 0.5
    longest: float = 30.0
    rng: random.Random = field(default_factory=random.Random)
    _next: float = 0.0

    def reset(self) -> None:
        """The link did its work again: the next wait is the first one."""
        self._next = 0.0

    def give_up(self) -> None:
        """The other side refuses us: every further wait is the longest."""
        self._next = self.longest

    def delay(self) -> float:
        """Seconds to wait before the next attempt; each call doubles the one after it."""
        wait = self._next or self.first
        self._next = min(wait * 2, self.longest)
        return wait * (1.0 - 0.25 * self.rng.random())


class Link:
    """What `supervise` hands to a link's body: call `worked()` at each success that shows the link does its job."""

    def __init__(self, name: str, backoff: Backoff) -> None:
        self.name = name
        self.error = ""  # why the link is down; empty while it works
        self.since = time.monotonic()  # when it went down or came back
        self.progress = 0  # grows with every success and every attempt; the watchdog looks at it
        self._backoff = backoff

    def worked(self) -> None:
        """A good poll, a PUBACK: ends the outage and resets the backoff."""
        self.progress += 1
        self._backoff.reset()
        if self.error:
            now = time.monotonic()
            log.info("%s: back after %.0f s", self.name, now - self.since, extra={"link": self.name})
            self.error, self.since = "", now

    def failed(self, error: LinkError) -> float:
        """Note an outage; returns the seconds to wait before the next attempt."""
        self.progress += 1
        if isinstance(error, RefusedError):
            self._backoff.give_up()
        reason = str(error) or type(error).__name__
        if not self.error:
            self.since = time.monotonic()
            log.warning("%s: down: %s", self.name, reason, extra={"link": self.name, "error": reason})
        elif reason != self.error:
            log.info("%s: still down: %s", self.name, reason, extra={"link": self.name, "error": reason})
        self.error = reason
        return self._backoff.delay()


async def supervise(name: str, body: Callable[[Link], Awaitable[None]], backoff: Backoff | None = None) -> None:
    """Run `body` until it returns; each LinkError it raises starts it again after a wait. Other errors pass."""
    link = Link(name, backoff or Backoff())
    while True:
        try:
            await body(link)
        except LinkError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # `wait_for` of Python 3.11 loses a cancellation that comes together with a failure or a result
                raise asyncio.CancelledError from error
            await asyncio.sleep(link.failed(error))
        else:
            return


async def end(tasks: Collection[asyncio.Task[None]], timeout_s: float) -> None:
    """Cancel tasks and wait for their end; one that lost the cancellation gets it again after half the time."""
    left = set(tasks)
    for _ in range(2):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=timeout_s / 2)
