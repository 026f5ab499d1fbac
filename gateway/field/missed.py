"""Grid slots that passed unserved, reported at once and then at most every few seconds per device. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.field.contract import Loss
from gateway.readings import TagColumn

_INTERVAL_NS: Final = 10_000_000_000


@dataclass(slots=True)
class Missed:
    """The unreported missed slots of one device."""

    slots: int = 0
    from_ns: int = 0
    to_ns: int = 0
    reported_ns: int | None = None

    def add(self, slots: int, from_ns: int, to_ns: int) -> None:
        """Slots from one time to another were missed (UTC)."""
        if not self.slots:
            self.from_ns = from_ns
        self.slots += slots
        self.to_ns = to_ns

    def loss(self, tags: TagColumn, now_ns: int, *, last: bool = False) -> Loss | None:
        """What is due to be reported; `last` asks for everything."""
        if not self.slots or not (last or self.reported_ns is None or now_ns - self.reported_ns >= _INTERVAL_NS):
            return None
        loss = Loss("missed_tick", tags, self.from_ns, self.to_ns, self.slots * len(tags))
        self.slots, self.reported_ns = 0, now_ns
        return loss
