"""The interface of a link that carries Modbus requests, whatever library or port is behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from gateway.errors import GatewayError

Trace = Callable[[int, str, bytes], None]  # unit, "sent" | "got" | "late" | "stray", frame


class NoAnswerError(GatewayError):
    """No answer came in time. The link itself stands."""


class Answer(NamedTuple):
    """What a unit answered, without its frame, and when the values were taken."""

    pdu: bytes
    time_ns: int  # monotonic clock: midpoint of the request's end and the answer's begin
    seconds: float  # from the request's begin to the answer's end


class Request(NamedTuple):
    """One request: to whom, what, and how patient to be."""

    unit: int
    pdu: bytes
    timeout_s: float  # after the characters themselves are on the line
    pause_s: float = 0.0  # silence before it


class Wire(Protocol):
    """An open link. It never repeats a request by itself and never opens itself again."""

    lost: str  # why the link is gone; empty while it stands

    def start(self, request: Request) -> Awaitable[Answer]:
        """Send a request; await the result for its answer.

        NoAnswerError after the timeout, GarbledError where something else came, LinkError when the link is gone.
        Only TCP carries the next request before the answer to the last one.
        """

    async def settle(self) -> None:
        """Let pass what may still be answered to requests sent before this link was opened."""

    def close(self) -> None:
        """Close the link at once; requests in flight fail with LinkError."""


class Listener(Protocol):
    """What a wire tells about frames nobody waits for."""

    def late(self, unit: int, seconds: float, timeout_s: float) -> None:
        """A unit answered after its timeout."""

    def frame(self, unit: int, what: str, data: bytes) -> None:
        """A frame went by: `sent`, `got`, `late` or `stray`."""

    @property
    def tracing(self) -> bool:
        """Whether `frame` is of interest to anybody."""
