"""The certificate: per tag and hour how much was kept, and how far what was dropped lies from what is rebuilt.

Measured is the lossy step alone (deadband, on-change, swinging-door): its input against the readings that left it,
joined by straight lines for swinging-door, held for the others; the same values a receiver gets. Bad readings count as
received but have no error. At most 64 readings of a tag wait for the kept one behind them; more are thinned evenly, so
the worst error is exact up to there and that of a sample above; `checked` says how many were compared. A swinging
door's error counts in the hour in which the reading that ends the line leaves.

On the hot path the taps only note the columns; they are looked at in `tick`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.pipeline.plan import same_steps
from gateway.pipeline.settings import LOSSY, Step
from gateway.readings import Readings, TagTable

Event = Callable[[str, int, Mapping[str, object]], None]  # kind, UTC in ns, fields as on the wire
HOUR_NS: Final = 3_600_000_000_000
_MOST_ROWS: Final = 50_000  # noted before they are looked at without waiting for the tick
_MOST_TAGS: Final = 100  # in one event


@dataclass(frozen=True, slots=True)
class Achieved:
    """One tag's figures of one hour, or of the running one so far."""

    tag: int
    name: str
    received: int
    kept: int
    checked: int  # readings that were compared
    worst_error: float  # engineering units
    bound: float  # what the step promises; 0 while `auto` still estimates

    @property
    def ratio(self) -> float:
        """Kept of received; a reading may leave an hour later than it came."""
        return self.kept / self.received if self.received else 0.0


class Certificates:
    """Watches the lossy steps of a table. `before` and `after` are the pipeline's taps; plain calls on one loop."""

    def __init__(
        self,
        table: TagTable,
        steps: Mapping[int, Sequence[Step]],
        event: Event,
        deviations: Callable[[], Mapping[int, float]] = dict,
    ) -> None:
        """`deviations` gives the bounds in use where they may change (see Pipeline.deviations)."""
        from gateway.pipeline.kernels import certificate as kernels  # noqa: PLC0415  # loads numba: cache first

        self._kernels = kernels
        self._table = table
        self._event = event
        self._deviations = deviations
        last = {index: chain[-1] for index, chain in steps.items() if chain and chain[-1].kind in LOSSY}
        self._bounds = {index: _bound(table, index, step) for index, step in last.items()}
        self._steps = {index: steps[index] for index in last}
        self._tags = list(last)
        self._slot = np.full(len(table), -1, np.int32)
        self._slot[self._tags] = np.arange(len(last), dtype=np.int32)
        self._linear = np.array([step.kind == "swinging-door" for step in last.values()], np.bool_)
        self._real = np.zeros((kernels.REAL, len(last)), np.float64)
        self._whole = np.zeros((kernels.WHOLE, len(last)), np.int64)
        self._whole[kernels.STRIDE] = 1
        self._time = np.zeros((len(last), kernels.BUFFER), np.int64)
        self._value = np.zeros((len(last), kernels.BUFFER), np.float64)
        self._noted: list[tuple[bool, Readings]] = []
        self._rows = 0
        self._since_ns = 0

    def before(self, readings: Readings) -> None:
        """Rows on their way into the lossy steps."""
        self._note(readings, left=False)

    def after(self, readings: Readings) -> None:
        """Rows that left the pipeline."""
        self._note(readings, left=True)

    def tick(self, now_ns: int) -> None:
        """Look at what was noted; at a new hour of UTC tell about the one before. To be called each second."""
        self._settle()
        if not self._since_ns:
            self._since_ns = now_ns
        elif now_ns // HOUR_NS != self._since_ns // HOUR_NS:
            self._tell(now_ns)

    def achieved(self) -> list[Achieved]:
        """The figures of the running hour, of every tag with a lossy step."""
        self._settle()
        kernels, current = self._kernels, self._deviations()
        return [
            Achieved(
                tag,
                self._table[tag].full_name,
                int(self._whole[kernels.RECEIVED, at]),
                int(self._whole[kernels.KEPT, at]),
                int(self._whole[kernels.CHECKED, at]),
                float(self._real[kernels.WORST, at]),
                current.get(tag, self._bounds[tag]),
            )
            for at, tag in enumerate(self._tags)
        ]

    def adopt(self, other: Certificates) -> None:
        """Take over the running hour of tags whose steps are the same (after a reload)."""
        other._settle()
        self._since_ns = other._since_ns
        same = same_steps(other._steps, self._steps)
        here, there = self._slot[same], other._slot[same]
        self._real[:, here], self._whole[:, here] = other._real[:, there], other._whole[:, there]
        self._time[here], self._value[here] = other._time[there], other._value[there]

    def _note(self, readings: Readings, *, left: bool) -> None:
        if not self._tags:
            return
        self._noted.append((left, readings))
        self._rows += len(readings)
        if self._rows > _MOST_ROWS:
            self._settle()

    def _settle(self) -> None:
        kernels = self._kernels
        for left, rows in self._noted:
            columns = rows.tag, rows.time_ns, rows.value, rows.quality, self._slot
            if left:
                kernels.keep(*columns, self._linear, self._real, self._whole, self._time, self._value)
            else:
                kernels.receive(*columns, self._whole, self._time, self._value)
        self._noted.clear()
        self._rows = 0
        kernels.held(self._linear, self._real, self._whole, self._value)

    def _tell(self, now_ns: int) -> None:
        kernels = self._kernels
        for device, rows in self._by_device():
            for first in range(0, len(rows), _MOST_TAGS):
                fields = {
                    "device": device,
                    "from": self._since_ns // 1_000_000,
                    "to": now_ns // 1_000_000,
                    "tags": [_fields(self._table, row) for row in rows[first : first + _MOST_TAGS]],
                }
                self._event("certificate", now_ns, fields)
        self._since_ns = now_ns
        for counter in (kernels.RECEIVED, kernels.KEPT, kernels.CHECKED):
            self._whole[counter] = 0
        self._real[kernels.WORST] = 0.0

    def _by_device(self) -> Iterator[tuple[str, list[Achieved]]]:
        devices: dict[str, list[Achieved]] = {}
        for row in self.achieved():
            if row.received or row.kept:
                devices.setdefault(self._table[row.tag].device, []).append(row)
        yield from devices.items()


def _bound(table: TagTable, index: int, step: Step) -> float:
    if step.deadband:
        return step.deadband.band(table[index])
    if step.swinging_door and step.swinging_door.deviation != "auto":
        return step.swinging_door.deviation
    return 0.0


def _fields(table: TagTable, row: Achieved) -> dict[str, object]:
    return {
        "tag": table[row.tag].name,
        "received": row.received,
        "kept": row.kept,
        "ratio": round(row.ratio, 6),
        "worst_error": row.worst_error,
        "bound": row.bound,
        "checked": row.checked,
    }
