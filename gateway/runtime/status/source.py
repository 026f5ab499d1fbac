"""What the status server and `gateway status` show: plain data that turns into JSON as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.runtime.counters import Counters

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tags are asked for: those of a device, those whose full name holds a text, some rows of these.

    `poor`: only those whose newest reading is not good.
    """

    device: str = ""
    search: str = ""
    poor: bool = False
    offset: int = 0
    limit: int = 500
    trend: bool = False


class TagPage(NamedTuple):
    """Some rows of a selection, and how many it has in all."""

    total: int
    rows: list[Json]


class Source(Protocol):
    """The daemon as it is now. Every call is quick and has no effect."""

    counters: Counters

    def health(self) -> Json:
        """The overview; `status` is ok, degraded or starting, `reasons` says why it isn't ok."""

    def devices(self) -> Sequence[Json]:
        """One object per device."""

    def tags(self, selection: Selection) -> TagPage:
        """The newest reading of each selected tag."""

    def upstreams(self) -> Sequence[Json]:
        """One object per upstream."""

    def losses(self) -> Json:
        """`total` by reason, and the newest `losses`, newest first."""

    def events(self) -> Sequence[Json]:
        """The newest events, newest first."""

    def certificates(self) -> Sequence[Json]:
        """Per tag with a lossy step: `tag`, `ratio`, `worst_error`, `bound` of the running hour."""

    def log(self) -> Sequence[Json]:
        """The newest log lines, oldest first."""

    @property
    def build(self) -> Mapping[str, str]:
        """Version and the like, as labels of `build_info`."""
