"""Progress of a command, on stderr."""

from __future__ import annotations

import sys


def tell(text: str, *, fleeting: bool = False) -> None:
    """A lasting line, or a fleeting one that only a terminal shows, until the next."""
    terminal = sys.stderr.isatty()
    if fleeting:
        if terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        return
    print(f"\r\x1b[K{text}" if terminal else text, file=sys.stderr, flush=True)
