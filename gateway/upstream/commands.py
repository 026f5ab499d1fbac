"""Writes that come from outside: checked, done, read back, answered and recorded."""

from __future__ import annotations

from typing import Protocol


class Commands(Protocol):
    """Carries out requests."""

    async def answer(self, request: bytes, source: str) -> bytes:
        """The answer to a request, both JSON as on the wire; never raises for what the request holds."""
