"""Feeds systemd's watchdog from the event loop, and only while every watched task makes progress.

A loop that is blocked can't feed; a task that hangs while the loop runs is seen by its progress counter. Either way
systemd ends the daemon with SIGABRT (faulthandler prints where it stood) and starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.runtime.systemd import Notifier

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    progress: Callable[[], int]
    silence_s: float  # the longest legal time without a change of progress
    seen: int
    moved: float


class Watchdog:
    """The critical tasks of the daemon and when each of them moved last."""

    def __init__(self, notifier: Notifier, now: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._reported: frozenset[str] = frozenset()

    def watch(self, name: str, progress: Callable[[], int], silence_s: float) -> None:
        """Demand that `progress()` changes at least every `silence_s`; the same name again replaces the demand."""
        self._watched[name] = _Watched(progress, silence_s, progress(), self._now())

    def forget(self, name: str) -> None:
        """The task ended on purpose."""
        self._watched.pop(name, None)

    def stalled(self) -> frozenset[str]:
        """The tasks that were silent for longer than they may."""
        now = self._now()
        late = set()
        for name, task in self._watched.items():
            progress = task.progress()
            if progress != task.seen:
                task.seen, task.moved = progress, now
            elif now - task.moved > task.silence_s:
                late.add(name)
        return frozenset(late)

    def feed(self) -> None:
        """Tell systemd that all is well, if it is; a stall is logged once."""
        late = self.stalled()
        if not late:
            self._notifier.watchdog()
        for name in sorted(late - self._reported):
            log.error("%s makes no progress: the watchdog is no longer fed", name, extra={"link": name})
        self._reported = late

    async def run(self) -> None:
        """Feed until cancelled, three times in systemd's interval; returns at once where no watchdog is set."""
        if self._notifier.watchdog_s is None:
            return
        while True:
            self.feed()
            await asyncio.sleep(self._notifier.watchdog_s / 3)
