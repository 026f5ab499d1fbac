"""A thread for what waits for the disk: calls run there one after the other and answer on the event loop."""

from __future__ import annotations

import asyncio
import threading  # noqa: TID251  # this module owns the disks' threads
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[asyncio.Future[Any], Callable[[], Any]]


class Disk:
    """Calls of one event loop, served in order by a thread of the given name; whatever a call raises comes back."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: a disk that hangs for good must not hold up the end of the process.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; its answers come on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread after everything asked before."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((done, work))
        return done

    async def close(self, timeout_s: float) -> None:
        """Finish what was asked, then end the thread; one that hangs is left behind after `timeout_s`."""
        last = self.call(lambda: None)
        self._jobs.put(None)
        await asyncio.wait([last], timeout=timeout_s)
        if last.done():
            self._thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            done, work = job
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as failed:  # noqa: BLE001  # carried to the loop, where a bug ends the process
                error = failed
            try:
                self._loop.call_soon_threadsafe(_settle, done, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return


def _settle(done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        done.exception()  # whoever waits sees it; nobody waiting is no fault
