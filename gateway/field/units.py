"""The units of one bus and the devices behind them: who answers, and whom to probe next. Pure.

A device has its own grid; whether it answers is judged together with all devices of its unit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.field.health import Health, ProbeShare, State
from gateway.field.missed import Missed
from gateway.field.stations import Poll, Station
from gateway.readings import Quality
from gateway.runtime.ticks import Grid

NEVER: Final = float("inf")


@dataclass(slots=True, eq=False)
class Entry:
    """A station on its grid."""

    station: Station
    grid: Grid
    health: Health  # of its unit
    missed: Missed = field(default_factory=Missed)
    slot_ns: int = 0  # UTC of the newest slot
    open: Poll | None = None  # runs, or waits for its second attempt
    open_ns: int = 0  # UTC of its slot
    retry_at: float = 0.0
    fresh: bool = True  # not yet asked: its first slot may lie in the past

    @property
    def device(self) -> str:
        """Its name."""
        return self.station.device


class Units:
    """All units of a bus; the devices are those of the last `use`."""

    def __init__(self, new_health: Callable[[], Health]) -> None:
        self._new_health = new_health
        self._health: dict[Hashable, Health] = {}
        self._members: dict[Hashable, list[Entry]] = {}
        self._down: list[Hashable] = []
        self._heard: set[Hashable] = set()  # answered since they failed, the link was opened or the devices changed
        self._share = ProbeShare()

    def health(self, unit: Hashable) -> Health:
        """What is known of a unit; a unit not heard of before is well."""
        found = self._health.get(unit)
        if found is None:
            found = self._health[unit] = self._new_health()
        return found

    def use(self, entries: Iterable[Entry]) -> None:
        """From now on these are the devices; units without any are forgotten."""
        self._members = {}
        for entry in entries:
            self._members.setdefault(entry.station.unit, []).append(entry)
        self._health = {unit: members[0].health for unit, members in self._members.items()}
        self._heard.clear()
        self._sort()

    def members(self, entry: Entry) -> Sequence[Entry]:
        """All devices of a device's unit; none where it was taken away."""
        return self._members.get(entry.station.unit, ())

    def answered(self, entry: Entry) -> bool:
        """The unit did its work; whether that is news."""
        entry.health.answered()
        if entry.station.unit in self._heard:
            return False
        self._heard.add(entry.station.unit)
        self._sort()
        return True

    def failed(self, entry: Entry, quality: Quality, now: float) -> State:
        """The unit gave no usable answer; what is known of it now."""
        entry.health.failed(quality, now)
        self._heard.discard(entry.station.unit)
        self._sort()
        return entry.health.state

    def look_now(self, now: float) -> None:
        """A new link: dead units are probed next."""
        self._heard.clear()
        for unit in self._down:
            self._health[unit].look_now(now)

    @property
    def probe_at(self) -> float:
        """When the next probe is due: not before probes have a share of the time left, unless all units are dead."""
        if not self._down:
            return NEVER
        at = min(self._health[unit].probe_at for unit in self._down)
        return max(at, self._share.free_at) if len(self._down) < len(self._health) else at

    def to_probe(self, now: float, waited_s: float) -> Entry | None:
        """A device of the unit whose probe is due for that long."""
        if self.probe_at + waited_s > now:
            return None
        return self._members[min(self._down, key=lambda unit: self._health[unit].probe_at)][0]

    def probed(self, seconds: float, now: float) -> None:
        """A probe that ended now took this long."""
        self._share.spent(seconds, now)

    def _sort(self) -> None:
        self._down = [unit for unit, health in self._health.items() if health.state is State.DOWN]
