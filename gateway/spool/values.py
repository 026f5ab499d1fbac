"""Small values of other stages, kept over restarts: on disk at once, or with the next transaction that succeeds."""

from __future__ import annotations

from gateway.errors import SpoolError
from gateway.runtime.clock import Clock
from gateway.spool.keeper import Keeper
from gateway.spool.schema import Changes


class Values:
    """See `Spool.remember` and `Spool.recall`."""

    def __init__(self, clock: Clock, keeper: Keeper) -> None:
        self.unkept: dict[str, bytes] = {}
        self.until: dict[str, int] = {}
        self._clock = clock
        self._keeper = keeper

    async def remember(self, key: str, value: bytes, until_ns: int | None = None) -> None:
        """See `Spool.remember`."""
        self.unkept[key] = value
        if until_ns is not None:
            self.until[key] = until_ns
        if not self._keeper.ready:
            return
        until = {} if until_ns is None else {key: until_ns}
        try:
            await self._keeper.apply(Changes(keep={key: value}, until=until, expired_ns=self._clock.now_ns()))
        except SpoolError:
            return
        self.kept(key, value)

    def kept(self, key: str, value: bytes | None) -> None:
        """A value stands in the file, unless another took its place meanwhile."""
        if self.unkept.get(key) is value:
            self.unkept.pop(key, None)
            self.until.pop(key, None)

    async def recall(self, key: str) -> bytes | None:
        """See `Spool.recall`."""
        if key in self.unkept:
            return self.unkept[key]
        try:
            return await self._keeper.recall(key) if self._keeper.ready else None
        except SpoolError:
            return None
