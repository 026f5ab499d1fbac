"""The first of a kind is told at once, what follows within a minute in one sum, so that a storm fills no log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

WINDOW_S: Final = 60.0
NAMES: Final = 20  # tags or addresses that one record lists
MORE: Final = "..."

Body = Mapping[str, Any]
Key = tuple[str, str]  # kind of the record, and what of it is summed apart


@dataclass(slots=True)
class _Window:
    until: float
    times: int = 0
    time_ms: int = 0  # of the newest
    sum: Body | None = None


class Storms:
    """What is being summed. Keys must be few; each is forgotten after a quiet minute."""

    def __init__(self) -> None:
        self._windows: dict[Key, _Window] = {}

    @property
    def next_due(self) -> float | None:
        """When `take` has something to do; None while all is quiet."""
        return min((window.until for window in self._windows.values()), default=None)

    def is_first(self, key: Key, time_ms: int, body: Body, now: float) -> bool:
        """Whether it is to be told itself; if not, it was added to the sum of its key."""
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(now + WINDOW_S)
            return True
        window.times, window.time_ms = window.times + 1, time_ms
        window.sum = body if window.sum is None else _add(window.sum, body)
        return False

    def take(self, now: float) -> Iterator[tuple[int, str, Body]]:
        """The sums that are due: time, kind and body, with the number of `times`."""
        for key, window in list(self._windows.items()):
            if now < window.until:
                continue
            if window.sum is None:
                del self._windows[key]
            else:
                self._windows[key] = _Window(now + WINDOW_S)
                yield window.time_ms, key[0], {**window.sum, "times": window.times}


def names(given: Iterable[str]) -> list[str]:
    """Names in order, each once, and `...` where there are more than a record lists."""
    every = sorted(set(given) - {MORE})
    more = len(every) > NAMES or MORE in given
    return [*every[:NAMES], *([MORE] if more else [])]


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


_RULES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "from": min,
    "to": max,
    "count": _sum,  # None: nobody knows how many
    "step": _sum,
    "tags": lambda first, second: names([*first, *second]),
    "addresses": lambda first, second: names([*first, *second]),
}


def _add(first: Body, second: Body) -> Body:
    """Two bodies of one kind; what has no rule is as it was last."""
    return {key: _RULES[key](first[key], value) if key in _RULES else value for key, value in second.items()}
