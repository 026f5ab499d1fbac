"""A valid configuration, resolved: what the stages are built from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gateway.config.root import Root
from gateway.errors import Finding
from gateway.field.contract import BusPlan, ConnectionSettings, Driver
from gateway.pipeline.alarms import AlarmSettings
from gateway.pipeline.derived import DerivedSettings
from gateway.pipeline.settings import Step
from gateway.readings import Tag, TagTable


@dataclass(frozen=True, slots=True)
class TagPlan:
    """One tag and what the pipeline does with it. `computed` tags come out of a step or an expression."""

    tag: Tag
    steps: tuple[Step, ...] = ()
    alarm: AlarmSettings | None = None
    every_s: float | None = None
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Bus:
    """One connection of the file with its driver and the poll interval of each device in seconds."""

    name: str
    driver: Driver
    settings: ConnectionSettings
    every: Mapping[str, float]

    def plan(self, table: TagTable) -> BusPlan:
        """What the driver's source shall do, by the indices of `table`."""
        return BusPlan(self.name, self.settings, self.every, table)


@dataclass(frozen=True)
class Configuration:
    """One file, checked whole."""

    file: Path
    root: Root
    buses: Mapping[str, Bus]
    tags: Sequence[TagPlan]
    derived: DerivedSettings | None = None
    warnings: Sequence[Finding] = ()
    digest: str = ""  # SHA-256 of the file's bytes, as `sha256sum` prints it
    behind: Mapping[str, str] = field(default_factory=dict)  # fingerprint of each part's secrets and certificates

    @cached_property
    def table(self) -> TagTable:
        """The tag table of this file alone; a running daemon grows its own over reloads."""
        return TagTable(plan.tag for plan in self.tags)

    @cached_property
    def steps(self) -> Mapping[int, Sequence[Step]]:
        """Steps by index of `table`."""
        return self.steps_for(self.table)

    def steps_for(self, table: TagTable) -> Mapping[int, Sequence[Step]]:
        """Steps by index of a table that has all tags of this file."""
        return {table.index(plan.tag.full_name): plan.steps for plan in self.tags if plan.steps}

    def alarms_for(self, table: TagTable) -> Mapping[int, AlarmSettings]:
        """Alarms by index of a table that has all tags of this file."""
        return {table.index(plan.tag.full_name): plan.alarm for plan in self.tags if plan.alarm is not None}

    def devices(self) -> Iterator[tuple[str, Bus]]:
        """Every device with its bus, in the order of the file."""
        for bus in self.buses.values():
            for device in bus.settings.devices:
                yield device, bus
