"""What happens to the daemon, as records of the audit log.

    start, stop, reload, trace, acknowledge -----------> queue --one task--> AuditLog
    loss, clock step, refused login --first, then sums--^

Whoever notes something never waits: a log that can't be written keeps the queue, which is bounded, and is tried again.
Writes are recorded by the command executor, which waits for each of its records and writes nothing without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Self

from gateway.app.storms import Body, Storms, names
from gateway.runtime.audit import AuditLog
from gateway.runtime.clock import Clock

log = logging.getLogger(__name__)

WAITING: Final = 256  # records in the queue; what comes when it is full is only counted
RETRY_S: Final = 10.0
CLOSE_S: Final = 3.0


class Records:
    """Notes what happens; `run` writes it down, and leaving the `async with` block what is left."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self.audit = audit
        self._clock = clock
        self._storms = Storms()
        self._queue: deque[tuple[int, str, Body]] = deque()
        self._omitted = 0
        self._changed = asyncio.Event()
        self._error = ""

    async def __aenter__(self) -> Self:
        await self.audit.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._take_sums(float("inf"))
        if kind is None:
            self.note("stop")  # where an error ends the daemon, the next `start` follows without one
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._write()
        if self._queue:
            log.warning("records that the audit log lacks: %d", len(self._queue) + self._omitted)
        await self.audit.__aexit__()

    def note(self, kind: str, **body: Any) -> None:
        """Something an administrator or the service manager did."""
        self._put(self._now_ms(), kind, body)

    def event(self, event: Mapping[str, Any]) -> None:
        """An event as it goes upstream (wire.md); those that an auditor asks for are recorded too."""
        kind, time_ms = event["event"], event["time"]
        if kind == "loss":
            fields = {key: event[key] for key in ("reason", "from", "to", "count")}
            self._count(kind, event["reason"], time_ms, {**fields, "tags": names(event["tags"])})
        elif kind == "clock_step":
            self._count(kind, "", time_ms, {key: event[key] for key in ("step", "synchronised")})
        elif kind == "alarm" and event["change"] == "acknowledged":
            self._put(time_ms, "acknowledge", {"source": event.get("user", ""), "tag": event["tag"]})

    def refused_login(self, address: str) -> None:
        """A wrong token came from an address."""
        self._count("login", "", self._now_ms(), {"result": "refused", "addresses": [address], "count": 1})

    async def run(self) -> None:
        """Write down what was noted, and sums when they are due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._storms.next_due):
                    await self._changed.wait()
            self._changed.clear()
            self._take_sums(loop.time())
            if not await self._write():
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    def _count(self, kind: str, what: str, time_ms: int, body: Body) -> None:
        if self._storms.is_first((kind, what), time_ms, body, asyncio.get_running_loop().time()):
            self._put(time_ms, kind, body)
        self._changed.set()

    def _put(self, time_ms: int, kind: str, body: Body) -> None:
        if len(self._queue) >= WAITING:
            self._omitted += 1
        else:
            self._queue.append((time_ms, kind, body))
        self._changed.set()

    def _take_sums(self, now: float) -> None:
        for time_ms, kind, body in self._storms.take(now):
            self._put(time_ms, kind, body)

    async def _write(self) -> bool:
        """Write the queue down; False where the log can't be written now. Nothing leaves the queue unwritten."""
        while self._queue:
            record = self._queue.popleft()  # at once: a record on its way is written even if this is cancelled
            try:
                await self.audit.record(*record)
            except OSError as error:
                self._queue.appendleft(record)
                if not self._error:
                    log.warning("the audit log can't be written: %s", error, extra={"error": str(error)})
                self._error = str(error)
                return False
            if self._omitted:
                self._queue.append((self._now_ms(), "omitted", {"count": self._omitted}))
                self._omitted = 0
        if self._error:
            log.info("the audit log can be written again")
            self._error = ""
        return True

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000
