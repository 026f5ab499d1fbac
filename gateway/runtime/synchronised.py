"""Is the wall clock synchronised? Asked of systemd-timesyncd's mark, else of timedated (which asks the kernel).

Where neither can be asked (a container, a system without systemd) the clock is taken as right once it shows a day
after this release: a box without a battery-backed clock starts before it, and somebody else keeps a container's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

MARK: Final = Path("/run/systemd/timesync/synchronized")
RELEASED_S: Final = 1_767_225_600  # 2026-01-01 UTC, no release is older
EVERY_S: Final = 60.0
_ANSWER_S: Final = 10.0

Ask = Callable[[], Awaitable[bool | None]]


async def ask_timedated() -> bool | None:
    """What timedated says; None where it can't be asked."""
    try:
        process = await asyncio.create_subprocess_exec(
            "timedatectl", "show", "--property=NTPSynchronized", "--value",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_ANSWER_S):
            answer, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return {b"yes": True, b"no": False}.get(answer.strip())


class Synchronised:
    """Answers at once from what was last found; `run()` keeps asking."""

    def __init__(self, ask: Ask = ask_timedated, mark: Path = MARK, wall_s: Callable[[], float] = time.time) -> None:
        self.source = "assumed"  # timesyncd | timedated | assumed: where the answer comes from
        self._ask = ask
        self._mark = mark
        self._wall_s = wall_s
        self._answer: bool | None = None
        self._said = False

    def __call__(self) -> bool:
        """Whether the wall clock is synchronised, as far as anybody knows; costs one look at a file at most."""
        if self._answer:
            return True
        if self._mark.exists():
            self.source = "timesyncd"
            return True
        return self._wall_s() >= RELEASED_S if self._answer is None else False

    async def refresh(self) -> None:
        """Ask once; the daemon does so before it starts."""
        if self._mark.exists():
            self.source, self._answer = "timesyncd", True
            return
        self._answer = await self._ask()
        self.source = "assumed" if self._answer is None else "timedated"
        if self._answer is None and not self._said:
            self._said = True
            log.info("no time service answers: the clock is taken as right if it shows a day after this release")

    async def run(self) -> None:
        """Ask every minute until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()
