"""An event loop whose clock jumps to the next timer instead of waiting: hours of polling in a second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.runtime.clock import Clock

T = TypeVar("T")
EPOCH_NS = 1_800_000_000_000_000_000


class _Selector(selectors.SelectSelector):
    """Never waits; tells the loop how long it would have."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits for ever")
        self.waited += max(0.0, timeout)
        return super().select(0)


class _WireSelector(_Selector):
    """Lets sockets speak first: the clock jumps only once nothing has come for a moment of real time."""

    quiet_s = 0.005  # loopback delivers within the sender's own call; this is for a machine that is busy

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return super().select(0)
        return selectors.SelectSelector.select(self, self.quiet_s) or super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at zero."""

    def __init__(self, selector: _Selector | None = None) -> None:
        self._virtual = selector or _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.waited


async def later(seconds: float) -> None:
    """Let virtual time pass while everybody does their work: nobody waits for it."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop), "this would really wait"
    await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def run_wired(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, with sockets whose both ends are in this loop: an answer takes no time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(_WireSelector())) as runner:
        return runner.run(main)


class VirtualClock(Clock):
    """UTC that goes with the running loop's time; `jump_s` is what somebody did to the wall clock."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.jump_s = 0.0
        super().__init__(
            lambda: EPOCH_NS + int((loop.time() + self.jump_s) * 1e9),
            lambda: int(loop.time() * 1e9),
            lambda: int(loop.time() * 1e9),
            boot="virtual",
        )
