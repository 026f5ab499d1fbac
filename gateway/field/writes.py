"""Writes that wait for their turn on a bus. Each runs at most once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.errors import LinkError, WriteError
from gateway.field.stations import UnitError
from gateway.readings import Quality

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Turn:
    """One write that waits or runs."""

    work: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]

    def fail(self, error: WriteError) -> None:
        """Tell whoever waits, if anybody still does."""
        if not self.done.done():
            self.done.set_exception(error)


class WriteQueue:
    """First come, first served; true while somebody waits."""

    def __init__(self) -> None:
        self._waiting: deque[Turn] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, work: Callable[[], Awaitable[T]]) -> Turn:
        """Stand in the queue."""
        turn = Turn(work, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        return turn

    async def result(self, turn: Turn, patience_s: float) -> Any:  # what `work` gave
        """What the work returned; WriteError where it failed or did not begin within the patience."""
        try:
            await asyncio.wait([turn.done], timeout=patience_s)
            if turn in self._waiting:
                raise WriteError("timeout", f"the bus was busy for {patience_s:g} s: nothing was sent")
            return await turn.done
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            turn.done.cancel()

    async def run_next(self) -> None:
        """Do the first one. LinkError passes on after its writer was told; nothing is tried twice."""
        turn = self._waiting.popleft()
        if turn.done.done():
            return
        try:
            result = await turn.work()
        except WriteError as error:
            turn.fail(error)
        except UnitError as error:
            turn.fail(WriteError("timeout" if error.quality is Quality.BAD_TIMEOUT else "failed", str(error)))
        except LinkError as error:
            turn.fail(WriteError("failed", f"the link was lost, whether it was done is not known: {error}"))
            raise
        except asyncio.CancelledError:
            turn.fail(WriteError("failed", "the gateway stops, whether it was done is not known"))
            raise
        else:
            if not turn.done.done():
                turn.done.set_result(result)

    def drop(self, reason: str) -> None:
        """Nobody's turn will come."""
        while self._waiting:
            self._waiting.popleft().fail(WriteError("failed", f"{reason}: nothing was sent"))
