"""Topics the broker refuses: their messages wait here, and one of them knocks again from time to time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

MAX_BYTES: Final = 4 << 20
RETRY_S: Final = 60.0
FIRST_RETRY_S: Final = 1.0
# PUBACK codes that only somebody at the broker can end: not authorized, topic name invalid, payload format invalid.
STANDING: Final = frozenset({0x87, 0x90, 0x99})

T = TypeVar("T")


@dataclass(slots=True)
class _Topic(Generic[T]):
    wait: float
    retry: float
    items: list[tuple[T, int]] = field(default_factory=list)
    knocking: bool = False
    overflowed: bool = False


class Parking(Generic[T]):
    """`order` gives an item's place among those of its topic."""

    def __init__(self, order: Callable[[T], int]) -> None:
        self._order = order
        self._topics: dict[str, _Topic[T]] = {}
        self.used = 0  # bytes

    def __contains__(self, topic: str) -> bool:
        return topic in self._topics

    def __len__(self) -> int:
        return sum(len(topic.items) for topic in self._topics.values())

    def __iter__(self) -> Iterator[T]:
        for topic in self._topics.values():
            for item, _ in topic.items:
                yield item

    def refuse(self, name: str, code: int, now: float) -> bool:
        """The broker refused a message of the topic; whether that is news."""
        topic = self._topics.get(name)
        if topic is None:
            wait = RETRY_S if code in STANDING else FIRST_RETRY_S
            self._topics[name] = _Topic(wait, now + wait)
            return True
        if topic.knocking:
            topic.wait = min(topic.wait * 2, RETRY_S)
            topic.retry = now + topic.wait
            topic.knocking = False
        return False

    def put(self, name: str, item: T, size: int, *, alone: bool = False) -> bool:
        """Keep an item of a parked topic; False where the bound is reached and it wasn't kept.

        `alone`: of such a topic only the newest item counts.
        """
        topic = self._topics[name]
        if alone and topic.items:
            kept, kept_size = topic.items[0]
            if self._order(kept) > self._order(item):
                return True
            topic.items.clear()
            self.used -= kept_size
        if self.used + size > MAX_BYTES and topic.items:
            topic.overflowed = True
            return False
        topic.items.append((item, size))
        self.used += size
        return True

    def knock(self, now: float) -> T | None:
        """The oldest item of a topic that is due, taken out; `refuse`, `accept` or `back` must follow."""
        for topic in self._topics.values():
            if topic.retry <= now and not topic.knocking and topic.items:
                topic.knocking = True
                topic.items.sort(key=lambda pair: self._order(pair[0]))
                item, size = topic.items.pop(0)
                self.used -= size
                return item
        return None

    def back(self, name: str, item: T, size: int) -> None:
        """What `knock` gave could not be handed over: it knocks again at once."""
        topic = self._topics[name]
        topic.knocking = False
        topic.items.append((item, size))
        self.used += size

    def accept(self, name: str) -> tuple[list[T], bool]:
        """The broker took a message of the topic: all its items in order, and whether some weren't kept."""
        topic = self._topics.pop(name, None)
        if topic is None:
            return [], False
        self.used -= sum(size for _, size in topic.items)
        topic.items.sort(key=lambda pair: self._order(pair[0]))
        return [item for item, _ in topic.items], topic.overflowed

    def clear(self) -> None:
        """The session is over."""
        self._topics.clear()
        self.used = 0
