"""Whose turn it is: what shares a key goes one after the other, in order of arrival; the rest goes side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Place:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0  # by how many, who has it included


class Turns:
    """Keeps only the keys that somebody has or waits for."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    @asynccontextmanager
    async def of(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Wait for all keys (always in the same order, so no two wait for each other), and have them while inside."""
        wanted = sorted(set(keys))
        for key in wanted:
            self._places.setdefault(key, _Place()).wanted += 1
        try:
            async with AsyncExitStack() as stack:
                for key in wanted:
                    await stack.enter_async_context(self._places[key].lock)
                yield
        finally:
            for key in wanted:
                place = self._places[key]
                place.wanted -= 1
                if not place.wanted:
                    del self._places[key]
