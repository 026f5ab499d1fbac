"""What is on its way to the broker: handed over, not yet acknowledged, bounded in number and bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

MAX_BYTES: Final = 4 << 20

T = TypeVar("T")


@dataclass(slots=True)
class Flight(Generic[T]):
    """One message on its way: what it belongs to, its size, when it was sent (seconds of the loop's clock)."""

    item: T
    size: int
    sent: float


@dataclass(slots=True)
class Window(Generic[T]):
    """All messages on their way by packet id, oldest first. One for every QoS 1 message of a session."""

    messages: int
    bytes: int = MAX_BYTES
    used: int = 0
    _open: dict[int, Flight[T]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._open)

    def has_room(self, size: int) -> bool:
        """Whether a message of `size` bytes may go now; one larger than the whole window goes alone."""
        return len(self._open) < self.messages and (self.used + size <= self.bytes or not self._open)

    def add(self, mid: int, item: T, size: int, now: float) -> None:
        """Note a message that was handed over."""
        self._open[mid] = Flight(item, size, now)
        self.used += size

    def release(self, mid: int) -> Flight[T] | None:
        """The message of a packet id that was answered; None for an id that isn't ours."""
        flight = self._open.pop(mid, None)
        if flight is not None:
            self.used -= flight.size
        return flight

    def flights(self) -> Iterator[Flight[T]]:
        """All messages on their way, oldest first."""
        return iter(self._open.values())

    def oldest(self) -> Flight[T] | None:
        """The message that waits longest."""
        return next(iter(self._open.values()), None)
