"""The disk behind the front: every wait for it, whether it can be used, and when to try again.

A disk that fails never raises further than `SpoolError` to the caller of the one operation; the spool goes on in
memory, the reason stands in the counters, and the next attempt comes with growing distance.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from gateway.errors import SpoolError
from gateway.runtime.counters import SpoolCounters
from gateway.runtime.disk import Disk
from gateway.runtime.supervise import Backoff
from gateway.spool.database import DamagedError, FullError
from gateway.spool.opening import InUseError, forget, lock, open_store
from gateway.spool.schema import Changes, Opener, Opening, Stored, Usage
from gateway.spool.store import Store

log = logging.getLogger(__name__)

T = TypeVar("T")
CLOSE_S: Final = 5.0
LONGEST_RETRY_S: Final = 30.0
FIRST: Final = -(1 << 62)


class Keeper:
    """One database file. `ready`: it can be read; `full`: nothing more fits on the device."""

    def __init__(self, path: Path, counters: SpoolCounters) -> None:
        self.ready = False
        self.full = False
        self.retry_at = 0.0  # loop time; meaningful while not ready or full
        self.usage = Usage(0, 0, {})
        self.last = FIRST  # highest block number on disk
        self._path = path
        self._counters = counters
        self._backoff = Backoff(first=1.0, longest=LONGEST_RETRY_S)
        self._damage = ""
        self._lock: int | None = None
        self._store = Store(path)
        self._disk = Disk("spool-disk")

    def start(self) -> None:
        """Start the disk's thread."""
        self._disk.start()

    async def open(self, opener: Opener) -> Opening:
        """See `open_store`; InUseError where another daemon has the file, else SpoolError."""
        damage = self._damage

        def work() -> Opening:
            if self._lock is None:
                self._lock = lock(self._path)
            with suppress(SpoolError):
                self._store.close()
            return open_store(self._store, opener, damage)

        opening = await self._call(work)
        self.ready, self._damage, self.usage, self.last = True, "", opening.usage, opening.last_seq
        self._worked()
        return opening

    async def apply(self, changes: Changes) -> None:
        """Make the changes; SpoolError where they could not be made."""
        self.usage = await self._call(lambda: self._store.apply(changes))
        self._worked()

    async def read(self, upstream: str, after: int, last: int) -> list[Stored]:
        """See `Store.read`."""
        return await self._call(lambda: self._store.read(upstream, after, last))

    async def oldest(
        self, size: int, after: int, protected: frozenset[int], between_ns: tuple[int, int] | None = None
    ) -> list[Stored]:
        """See `Store.oldest`."""
        return await self._call(lambda: self._store.oldest(size, after, protected, between_ns))

    async def forget(self, upstream: str, last: int) -> None:
        """See `opening.forget`."""

        def work() -> Usage:
            forget(self._store, [upstream], last)
            self._store.reload()
            return self._store.usage()

        self.usage = await self._call(work)

    async def recall(self, key: str) -> bytes | None:
        """A kept value."""
        return await self._call(lambda: self._store.recall(key))

    async def work(self, work: Callable[[], T]) -> T:
        """Anything else that takes long, in the disk's thread."""
        return await self._disk.call(work)

    async def checkpoint(self) -> None:
        """Cut the log to nothing, once nothing is left in the file."""
        await self._call(self._store.checkpoint)

    async def close(self, last: Changes | None) -> None:
        """Close, with the `last` changes made if they can be. Never raises; a disk that hangs is left behind."""

        def work() -> None:
            if last is not None:
                self._store.apply(last)
            self._store.checkpoint()

        with suppress(SpoolError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self.ready:
                    await self._call(work)
        with suppress(SpoolError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._disk.call(self._store.close)
        await self._disk.close(CLOSE_S)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._disk.call(work)
        except SpoolError as error:
            self._failed(error)
            raise

    def _failed(self, error: SpoolError) -> None:
        self.retry_at = asyncio.get_running_loop().time() + self._backoff.delay()
        if isinstance(error, InUseError):
            return
        if isinstance(error, FullError) and self.ready:
            self.full = True
            self.usage = error.usage or self.usage
        else:
            self.ready = False
        if isinstance(error, DamagedError):
            self._damage = str(error)
        if str(error) != self._counters.error:
            log.warning("spool: %s: %s: going on in memory", self._path, error, extra={"error": str(error)})
        self._counters.error = str(error)

    def _worked(self) -> None:
        self.full = False
        self._backoff.reset()
        if self._counters.error:
            log.info("spool: %s can be used again", self._path)
            self._counters.error = ""
