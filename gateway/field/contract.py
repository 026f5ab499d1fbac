"""What a driver is: a config model, the tags it gives, and a source that runs one bus.

    connection: {driver: modbus-tcp, ...}  --Driver.connection-->  ConnectionSettings
    ConnectionSettings                     --Driver.open-------->  Source, one task per bus
    Source.run()                           --FieldPort.readings->  the pipeline, by a plain call

A third party registers a `Driver` under the entry-point group `gateway.field`; see docs/drivers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from pydantic import AfterValidator, Field

from gateway.readings import Readings, Tag, TagColumn, TagTable, WriteLimits
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Duration, Limits, Name

RESERVED_DEVICES = frozenset({"state", "events", "command", "dictionary", "barrier"})


def _not_reserved(name: str) -> str:
    if name in RESERVED_DEVICES:
        raise ValueError(f"{name} is a reserved name")
    return name


DeviceName = Annotated[
    Name, AfterValidator(_not_reserved), Field(json_schema_extra={"not": {"enum": sorted(RESERVED_DEVICES)}})
]


class Range(Limits):
    """The plausible values of a tag, in engineering units; outside it a reading is bad, reason range."""


class Write(Limits):
    """Allows writing to a tag within limits, in engineering units; `{}` allows the type's whole range."""


def _not_zero(scale: float) -> float:
    if scale == 0:
        raise ValueError("a scale of 0 makes every value the same")
    return scale


class TagSettings(Settings):
    """The keys every driver's tag has. `steps` and `alarm` are checked by the pipeline's own models."""

    type: str = "float64"
    unit: str = ""
    profile: Name | None = None
    steps: list[Any] | None = None
    range: Range | None = None
    write: Write | None = None
    alarm: Any | None = None
    scale: Annotated[float, AfterValidator(_not_zero)] = 1.0
    offset: float = 0.0

    @across("type", "scale", "offset")
    def _only_numbers_are_scaled(self) -> Iterator[Fault]:
        for key in {"scale", "offset"} & self.model_fields_set:
            if self.type in {"bool", "string"}:
                yield (key,), f"has no meaning for {self.type}"

    @across("type", "range", "write")
    def _only_numbers_have_limits(self) -> Iterator[Fault]:
        for key, limits in (("range", self.range), ("write", self.write)):
            if self.type == "string" and limits is not None:
                yield from (((key, each), "has no meaning for string") for each in sorted(limits.model_fields_set))

    def for_source(self) -> Self:
        """The same without what the pipeline does with its readings."""
        return self.model_copy(update=dict.fromkeys(("profile", "steps", "alarm")))

    def address_text(self) -> str:
        """Where the value comes from, for people."""
        return ""

    def expand(self, device: str, name: str) -> list[Tag]:
        """The tags this entry gives; an array (`count`) gives `name.0`, `name.1`, ..."""
        return [self.tag(device, name)]

    def tag(self, device: str, name: str, address: str | None = None) -> Tag:
        """One tag with the common keys filled in."""
        limits = self.range or Range()
        return Tag(
            device,
            name,
            self.type,
            self.unit,
            limits.min,
            limits.max,
            self.scale,
            self.offset,
            None if self.write is None else WriteLimits(self.write.min, self.write.max),
            self.address_text() if address is None else address,
        )


class DeviceSettings(Settings):
    """The keys every driver's device has; a driver narrows `tags` to its own model."""

    every: Duration | None = None
    tags: Mapping[Name, Any] = Field(min_length=1)


class ConnectionSettings(Settings):
    """The keys every driver's connection has; a driver narrows `driver` to its name and `devices` to its model."""

    driver: str
    timeout: Duration = 1.0
    devices: Mapping[DeviceName, Any] = Field(min_length=1)

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Faults only the driver can see: ("error" | "warning", path below the connection, text).

        `every` is the poll interval in seconds of each device, defaults applied.
        """
        del every
        return []

    def for_source(self) -> Self:
        """The same without what the pipeline does with readings: a source has no part in it."""
        devices = {
            name: device.model_copy(update={"tags": {key: tag.for_source() for key, tag in device.tags.items()}})
            for name, device in self.devices.items()
        }
        return self.model_copy(update={"devices": devices})

    def link(self) -> Self:
        """The same without its devices: what makes up the link itself."""
        return self.model_copy(update={"devices": {}})


@dataclass(frozen=True, slots=True)
class Loss:
    """Readings that never came to be: missed ticks, a queue that overflowed in a device."""

    reason: str  # missed_tick, overflow
    tags: TagColumn
    from_ns: int
    to_ns: int
    count: int  # readings, not ticks


class FieldPort(Protocol):
    """What the field tells the rest. Every call is plain and quick; none waits."""

    def readings(self, readings: Readings) -> None:
        """One poll's or one publish's readings, in the order they were taken."""

    def loss(self, loss: Loss) -> None:
        """Readings that were due and can't be had any more."""

    def link(self, device: str, online: bool, reason: str) -> None:
        """A device's link went up or down; called on change only."""


@dataclass(frozen=True, slots=True)
class FieldContext:
    """What a source gets from the application."""

    port: FieldPort
    clock: Clock
    counters: Counters
    state: Path | None  # a writable directory for what a driver learns; None where there is none


@dataclass(frozen=True, slots=True)
class BusPlan:
    """What a source shall do: its settings, the poll interval of each device, and the table its tags stand in."""

    name: str  # of the connection
    connection: Any  # the driver's ConnectionSettings
    every: Mapping[str, float]  # seconds by device
    table: TagTable


class Source(Protocol):
    """One bus. A dead device gives bad rows, never an exception; a lost link is reopened inside `run`."""

    async def run(self) -> None:
        """Serve the bus until cancelled; while the link is down every tick gives bad/link rows."""

    async def write(self, tag: int, value: float | str) -> float | str:
        """Write an engineering value; returns the value read back. WriteError, bounded by the timeout."""

    def reconfigure(self, plan: BusPlan) -> None:
        """Take over a new plan while running: devices that did not change miss no tick and keep their grid.

        Only called when everything but `devices` and `every` is equal to the plan in force.
        """

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """Send a line per frame of one device to `sink`; None switches it off."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One protocol: how its connections are configured and opened."""

    name: str  # as in `driver:`
    connection: type[ConnectionSettings]
    open: Callable[[BusPlan, FieldContext], Source]
    keys: Sequence[str] = ()  # connection keys that name the bus (host, port): equal keys may not stand twice
    polled: bool = False  # every tick gives readings, good or bad: the watchdog may count on them
