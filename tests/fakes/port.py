"""A field port that remembers what it was told, and a context around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gateway.field.contract import BusPlan, ConnectionSettings, FieldContext, Loss
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters


class Row(NamedTuple):
    """One reading, by name."""

    tag: str
    time_ns: int
    value: float | str | None
    quality: Quality


@dataclass
class RecordingPort:
    """Every reading, loss and link change, in order; `wait` waits for a condition on them."""

    table: TagTable
    rows: list[Row] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    links: list[tuple[str, bool, str]] = field(default_factory=list)
    batches: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def readings(self, readings: Readings) -> None:
        self.batches += 1
        columns = (readings.tag, readings.time_ns, readings.value, readings.quality)
        assert len({len(column) for column in columns}) == 1
        assert [str(column.dtype) for column in columns] == ["uint32", "int64", "float64", "uint8"]
        for tag, time_ns, number, quality in zip(*(column.tolist() for column in columns), strict=True):
            name = self.table[tag]
            value: float | str | None = None if number != number else number  # noqa: PLR0124  # NaN
            if value is not None and name.type == "string":
                value = readings.texts[int(number)]
            self.rows.append(Row(name.full_name, time_ns, value, Quality(quality)))
        self._changed.set()

    def loss(self, loss: Loss) -> None:
        self.losses.append(loss)
        self._changed.set()

    def link(self, device: str, online: bool, reason: str) -> None:
        self.links.append((device, online, reason))
        self._changed.set()

    def of(self, name: str) -> list[Row]:
        """The rows of one tag."""
        return [row for row in self.rows if row.tag == name]

    def values(self, name: str) -> list[float | str | None]:
        """The values of one tag's good readings."""
        return [row.value for row in self.of(name) if row.quality == Quality.GOOD]

    def qualities(self, name: str) -> set[Quality]:
        """Every quality one tag had."""
        return {row.quality for row in self.of(name)}

    async def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Until the condition holds; AssertionError with what came after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(0.2):  # some conditions look elsewhere
                            await self._changed.wait()
                    except TimeoutError:
                        continue
        except TimeoutError:
            raise AssertionError(f"not so within {seconds} s; last rows {self.rows[-8:]}, links {self.links}") from None


def table_of(connection: ConnectionSettings, *more: Tag) -> TagTable:
    """The tag table of one connection, with tags of other stages behind each device's."""
    tags = [
        tag
        for device, settings in connection.devices.items()
        for name, entry in settings.tags.items()
        for tag in entry.expand(device, name)
    ]
    return TagTable([*tags, *more])


def plan_of(
    connection: ConnectionSettings, every: float | Mapping[str, float] = 0.1, name: str = "bus", *more: Tag
) -> BusPlan:
    """A plan for one connection."""
    intervals = every if isinstance(every, Mapping) else dict.fromkeys(connection.devices, every)
    return BusPlan(name, connection, intervals, table_of(connection, *more))


def context_of(
    plan: BusPlan, clock: Clock | None = None, state: Path | None = None
) -> tuple[FieldContext, RecordingPort]:
    """A context whose port records."""
    port = RecordingPort(plan.table)
    return FieldContext(port, clock or Clock(), Counters(), state), port


def settings_of(model: type[ConnectionSettings], **keys: Any) -> Any:
    """A connection's settings from the keys of the configuration file."""
    return model.model_validate(keys)
