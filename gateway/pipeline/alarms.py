"""Alarms of tags after ISA-18.2: limits, hysteresis and on-delay; raised, cleared and acknowledged are events.

    normal --raised--> unacknowledged --acknowledged--> acknowledged --cleared--> normal
                             | cleared                        ^ (raised again: unacknowledged)
                             v
                  returned, unacknowledged --acknowledged--> normal

Readings are looked at before any lossy step. A bad reading neither raises nor clears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from gateway.readings import Readings, Tag, TagTable
from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Name, ZeroDuration

Event = Callable[[str, int, Mapping[str, object]], None]  # kind, UTC in ns, fields as on the wire
_CONDITIONS: Final = ("", "high", "low")


class AlarmSettings(Settings):
    """The key `alarm` of a tag: at least one limit; a value at the limit is still normal."""

    high: float | None = None
    low: float | None = None
    hysteresis: Annotated[float, Field(ge=0)] = 0.0
    delay: ZeroDuration = 0.0
    severity: Name | Annotated[int, Field(ge=1, le=1000)] = "medium"  # the plant's own word, or OPC UA's 1..1000

    @across("high", "low")
    def _has_a_limit(self) -> Iterator[Fault]:
        if self.high is None and self.low is None:
            yield (), "expected high, low or both"

    @across("high", "low", "hysteresis")
    def _limits_fit(self) -> Iterator[Fault]:
        if self.high is not None and self.low is not None and self.high - self.hysteresis <= self.low + self.hysteresis:
            yield ("high",), "expected high above low by more than twice the hysteresis"


def problems(tag: Tag) -> list[str]:
    """Why a tag can't have an alarm; empty where it can."""
    return [f"an alarm needs numbers, {tag.name} is text"] if tag.kind == "text" else []


class State(StrEnum):
    """ISA-18.2's states of an alarm."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned_unacknowledged"


@dataclass(frozen=True, slots=True)
class AlarmStatus:
    """How one tag's alarm stands."""

    tag: str
    state: State
    condition: str  # `high`, `low`, or empty while normal
    since_ns: int  # of the last change of the state, 0 where there was none
    value: float  # newest good reading, NaN where there is none
    severity: str | int


@dataclass(slots=True)
class _Alarm:
    """The part of an alarm that changes at edges only."""

    tag: int
    name: str
    settings: AlarmSettings
    state: State = State.NORMAL
    condition: str = ""
    since_ns: int = 0


class Alarms:
    """All alarms of a table. Plain calls on one loop; `event` is called once per edge, in order."""

    def __init__(self, table: TagTable, settings: Mapping[int, AlarmSettings], event: Event) -> None:
        from gateway.pipeline.kernels import alarm as kernels  # noqa: PLC0415  # loads numba: cache first

        self._kernels = kernels
        self._event = event
        self._alarms = [_Alarm(index, table[index].full_name, each) for index, each in settings.items()]
        self._by_tag = {alarm.tag: number for number, alarm in enumerate(self._alarms)}
        self._slot = np.full(len(table), -1, np.int32)
        self._slot[list(settings)] = np.arange(len(settings), dtype=np.int32)
        self._real = np.full((kernels.REAL, len(settings)), np.nan, np.float64)
        self._whole = np.zeros((kernels.WHOLE, len(settings)), np.int64)
        for at, each in enumerate(settings.values()):
            self._real[kernels.HIGH, at] = np.inf if each.high is None else each.high
            self._real[kernels.LOW, at] = -np.inf if each.low is None else each.low
            self._real[kernels.HYSTERESIS, at] = each.hysteresis
            self._whole[kernels.DELAY, at] = round(each.delay * 1e9)

    def check(self, readings: Readings) -> None:
        """Look at a poll's readings; as the pipeline's tap `before` it sees what steps compute (`tag.anomaly`) too."""
        if not self._alarms:
            return
        room = 2 * len(readings)
        slots, edges, times = (np.empty(room, np.int64) for _ in range(3))
        values = np.empty(room, np.float64)
        count = self._kernels.check(
            readings.tag,
            readings.time_ns,
            readings.value,
            readings.quality,
            self._slot,
            self._real,
            self._whole,
            slots,
            edges,
            times,
            values,
        )
        for number in range(count):
            self._edge(int(slots[number]), int(edges[number]), int(times[number]), float(values[number]))

    def tick(self, now_ns: int) -> None:
        """Raise what has waited for its delay although no further reading came. To be called each second."""
        kernels = self._kernels
        waiting = self._whole[kernels.PENDING] != kernels.NONE
        due = np.flatnonzero(waiting & (now_ns - self._whole[kernels.SINCE] >= self._whole[kernels.DELAY]))
        for at in due.tolist():
            raised = int(self._whole[kernels.PENDING, at])
            self._whole[kernels.PENDING, at] = kernels.NONE
            self._whole[kernels.ACTIVE, at] = raised
            self._edge(at, raised, now_ns, float(self._real[kernels.LAST, at]))

    def acknowledge(self, tag: int, now_ns: int, user: str = "") -> bool:
        """An operator has seen a tag's alarm; False where there is nothing to acknowledge."""
        number = self._by_tag.get(tag)
        if number is None:
            return False
        alarm = self._alarms[number]
        if alarm.state is State.UNACKNOWLEDGED:
            alarm.state = State.ACKNOWLEDGED
        elif alarm.state is State.RETURNED:
            alarm.state = State.NORMAL
        else:
            return False
        self._tell("acknowledged", alarm, now_ns, self._last(number), user)
        if alarm.state is State.NORMAL:
            alarm.condition = ""
        return True

    def status(self) -> list[AlarmStatus]:
        """Every alarm as it stands, in the order of the configuration."""
        return [
            AlarmStatus(
                alarm.name, alarm.state, alarm.condition, alarm.since_ns, self._last(number), alarm.settings.severity
            )
            for number, alarm in enumerate(self._alarms)
        ]

    def adopt(self, other: Alarms) -> None:
        """Take over the state of alarms whose tag and settings are the same (after a reload)."""
        kernels = self._kernels
        for number, alarm in enumerate(self._alarms):
            old = other._by_tag.get(alarm.tag)
            if old is None or other._alarms[old].settings != alarm.settings:
                continue
            before = other._alarms[old]
            alarm.state, alarm.condition, alarm.since_ns = before.state, before.condition, before.since_ns
            self._whole[:, number] = other._whole[:, old]
            self._real[kernels.LAST, number] = other._real[kernels.LAST, old]

    def _last(self, number: int) -> float:
        return float(self._real[self._kernels.LAST, number])

    def _edge(self, number: int, edge: int, time_ns: int, value: float) -> None:
        alarm = self._alarms[number]
        if edge != self._kernels.NONE:
            alarm.condition, alarm.state = _CONDITIONS[edge], State.UNACKNOWLEDGED
            self._tell("raised", alarm, time_ns, value)
            return
        alarm.state = State.NORMAL if alarm.state is State.ACKNOWLEDGED else State.RETURNED
        self._tell("cleared", alarm, time_ns, value)
        if alarm.state is State.NORMAL:
            alarm.condition = ""

    def _tell(self, change: str, alarm: _Alarm, time_ns: int, value: float, user: str = "") -> None:
        alarm.since_ns = time_ns
        limit = alarm.settings.high if alarm.condition == "high" else alarm.settings.low
        fields: dict[str, object] = {
            "tag": alarm.name,
            "change": change,
            "state": str(alarm.state),
            "condition": alarm.condition,
            "limit": limit,
            "value": value if np.isfinite(value) else None,
            "severity": alarm.settings.severity,
        }
        if user:
            fields["user"] = user
        self._event("alarm", time_ns, fields)
