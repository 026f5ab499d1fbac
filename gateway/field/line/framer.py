"""From a stream of bytes to lines. Pure: bytes and the time they came go in, whole lines come out.

State: SKIPPING until the first terminator (the port was opened in the middle of a line, or a line grew too long),
then COLLECTING. Memory never exceeds one line of `LONGEST` bytes and the chunk just fed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LONGEST: Final = 4096  # bytes of a line without its terminator


class Line(NamedTuple):
    """One line without its terminator, and when its first byte came (the clock of whoever feeds)."""

    text: bytes
    at: float


class Framer:
    """Splits at a terminator. `synchronised=False`: everything up to the first terminator is dropped."""

    def __init__(self, terminator: bytes, *, synchronised: bool = False) -> None:
        self._terminator = terminator
        self._buffer = b""
        self._began = 0.0
        self._skipping = not synchronised
        self.overlong = 0  # lines dropped because they exceeded LONGEST

    def clear(self, *, synchronised: bool) -> None:
        """Forget what was collected."""
        self._buffer = b""
        self._skipping = not synchronised

    def feed(self, data: bytes, at: float) -> list[Line]:
        """The lines that `data` completes, in order; empty ones are left out."""
        if not data:
            return []
        if not self._buffer:
            self._began = at
        *whole, rest = (self._buffer + data).split(self._terminator)
        lines = []
        for text in whole:
            if self._skipping:
                self._skipping = False
            elif len(text) > LONGEST:
                self.overlong += 1
            elif text:
                lines.append(Line(text, self._began))
            self._began = at
        self._buffer = self._bounded(rest)
        return lines

    def _bounded(self, rest: bytes) -> bytes:
        """What to keep of an unfinished line; when skipping, just enough to see a terminator cut in two."""
        if not self._skipping and len(rest) > LONGEST:
            self.overlong += 1
            self._skipping = True
        keep = len(self._terminator) - 1
        return rest[len(rest) - min(keep, len(rest)) :] if self._skipping else rest
