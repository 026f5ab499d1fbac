"""What the write commands remember, kept in the spool's file with the time it runs out."""

from __future__ import annotations

from gateway.runtime.clock import Clock
from gateway.spool.spool import Spool

_STAMP = 8  # bytes of the UTC time in ns that stand before a value


class CommandMemory:
    """Answers to commands by key; those that ran out are as good as gone."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock

    async def recall(self, key: str) -> bytes | None:
        """What was remembered under the key and has not run out."""
        found = await self._spool.recall(key)
        if found is None or int.from_bytes(found[:_STAMP], "big") < self._clock.now_ns():
            return None
        return found[_STAMP:]

    async def remember(self, key: str, value: bytes, until_ns: int) -> None:
        """Keep the value until a UTC time; on disk when this returns, where there is a disk."""
        await self._spool.remember(key, until_ns.to_bytes(_STAMP, "big") + value)
