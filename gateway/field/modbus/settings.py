"""The configuration of Modbus connections, devices and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.field.modbus import address as addresses
from gateway.field.modbus.address import Address
from gateway.field.modbus.hints import hints
from gateway.field.modbus.layout import Layout, Order, ValueType, extended, layout, orders, width
from gateway.field.modbus.plan import Block, Limits, Span, plan
from gateway.field.modbus.timing import LineTiming, poll_s
from gateway.readings import INTEGER_LIMITS, Tag
from gateway.runtime.model import Fault, across
from gateway.runtime.settings import Duration, Host, Name, NumberOf, ZeroDuration

MOST_REGISTERS: Final = 125  # Modbus Application Protocol 1.1b3, section 6.3
MOST_COILS: Final = 2000  # section 6.1
_BYTES: Final = {"int8", "uint8"}
_NAMES: Final = {"input": "an input register", "discrete": "a discrete input"}


def _default_type(values: Any) -> Any:
    """Bits are bool where nothing else is said; registers uint16."""
    if not isinstance(values, Mapping) or "type" in values:
        return values
    try:
        place = addresses.parse(values.get("address"))
    except ValueError:
        return values
    return {**values, "type": "bool" if place.is_bit_area or place.bit is not None else "uint16"}


class ModbusTag(TagSettings):
    """One value of a Modbus device, or `count` equal ones in a row."""

    address: Annotated[
        Address,
        BeforeValidator(addresses.parse),
        WithJsonSchema(addresses.SCHEMA),
    ]
    type: ValueType = "uint16"
    order: Order | None = None
    count: Annotated[int, Field(ge=1, le=65536)] | None = None
    length: Annotated[int, Field(ge=1, le=2 * MOST_REGISTERS)] | None = None
    encoding: Literal["utf-8", "latin-1"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        return _default_type(values)

    @across("address", "type")
    def _place_fits(self) -> Iterator[Fault]:
        place, where = self.address, "type" if "type" in self.model_fields_set else "address"
        if place.is_bit_area and self.type != "bool":
            yield (where,), f"a {place.area} is a bit: type must be bool, not {self.type}"
        elif place.bit is not None and self.type != "bool":
            yield (where,), f"a single bit is a bool, not {self.type}"
        elif self.type == "bool" and not place.is_bit_area and place.bit is None:
            yield ("address",), f"a bool in a register needs its bit, such as {place.area}:{place.number}.0"
        elif place.high and self.type not in _BYTES:
            yield (where,), f".high picks a byte: type must be int8 or uint8, not {self.type}"

    @across("address", "count")
    def _counts_whole_registers(self) -> Iterator[Fault]:
        if self.address.bit is not None and (self.count or 1) > 1:
            yield ("count",), "count can't go over the bits of a register: name each bit"

    @across("type", "length", "encoding")
    def _text_has_length(self) -> Iterator[Fault]:
        if self.type == "string" and self.length is None:
            yield ("type",), "a string needs its length in bytes (length: 16)"
        for key in ("length", "encoding"):
            if self.type != "string" and getattr(self, key) is not None:
                yield (key,), f"belongs to strings, not to {self.type}"

    @across("address", "type", "length", "count")
    def _ends_in_time(self) -> Iterator[Fault]:
        last = self.address.number + (self.count or 1) * self.width - 1
        if last > addresses.LAST:
            yield ("address",), f"{self.type} from here reaches to {last}, but addresses end at {addresses.LAST}"

    @across("type", "order")
    def _order_fits(self) -> Iterator[Fault]:
        if self.order is None or self.order in orders(self.type) or "type" not in self.model_fields_set:
            return
        right = extended(self.order, self.type)
        hint = f' (did you mean "{right}")' if right else ""
        yield ("order",), f"{self.order} does not fit {self.type}: one of {', '.join(orders(self.type))}{hint}"

    @across("address", "write")
    def _can_be_written(self) -> Iterator[Fault]:
        if self.write is not None and not self.address.writable:
            yield ("write",), f"{_NAMES[self.address.area]} can only be read"

    @property
    def width(self) -> int:
        """Registers (or bits) of one value."""
        return 1 if self.address.is_bit_area else width(self.type, self.length)

    def layout(self, default: Order | None) -> Layout:
        """How the value lies in its registers; `default` is the device's order."""
        order = self.order or (extended(default, self.type) if default else None)
        return layout(self.type, order, self.length)

    def places(self) -> list[Address]:
        """The address of each value of this entry."""
        return [self.address.shifted(index * self.width) for index in range(self.count or 1)]

    def span(self, place: Address) -> Span:
        """The registers or bits of the value at `place`."""
        return Span(place.number, place.number + self.width)

    def names(self, name: str) -> list[str]:
        """The names of the tags this entry gives."""
        return [name] if self.count is None else [f"{name}.{index}" for index in range(self.count)]

    def address_text(self) -> str:
        """The address as on the wire and in Modicon notation."""
        return str(self.address)

    def expand(self, device: str, name: str) -> list[Tag]:
        """One tag, or `name.0`, `name.1`, ... where a count is given."""
        named = zip(self.names(name), self.places(), strict=True)
        return [self.tag(device, full, str(place)) for full, place in named]

    def raw_limits(self) -> tuple[int, int] | None:
        """The smallest and largest raw integer; None for a type that is no integer."""
        return INTEGER_LIMITS.get(self.type)


class ModbusDevice(DeviceSettings):
    """One unit on a Modbus connection: a server of its own, or a part of it with an own interval."""

    unit: int
    tags: Mapping[Name, ModbusTag] = Field(min_length=1)
    max_registers: Annotated[int, Field(ge=1, le=MOST_REGISTERS)] = MOST_REGISTERS
    max_coils: Annotated[int, Field(ge=1, le=MOST_COILS)] = MOST_COILS
    max_gap: Annotated[int, Field(ge=0, le=MOST_REGISTERS - 2)] = 0
    pause: ZeroDuration | None = None
    write_single: bool = False
    order: Order | None = None

    @across("tags", "max_registers")
    def _values_fit(self) -> Iterator[Fault]:
        for name, tag in self.tags.items():
            if not tag.address.is_bit_area and tag.width > self.max_registers:
                text = f"takes {tag.width} registers, but max_registers is {self.max_registers}"
                yield ("tags", name), text

    def limits(self, function: int, worthwhile_gap: int | None = None) -> Limits:
        """The limits of a request of a function code; a serial line bridges no more than what saves time."""
        gap = self.max_gap if worthwhile_gap is None else min(self.max_gap, worthwhile_gap)
        return Limits(self.max_coils if function <= 2 else self.max_registers, gap)

    def spans(self) -> dict[int, set[Span]]:
        """What the tags want to have read, by function code."""
        wanted: dict[int, set[Span]] = {}
        for tag in self.tags.values():
            wanted.setdefault(tag.address.function, set()).update(map(tag.span, tag.places()))
        return wanted

    def blocks(self, worthwhile_gap: int | None = None) -> list[Block]:
        """The reads of one poll while nothing is known to be refused."""
        return [
            block
            for function, wanted in sorted(self.spans().items())
            for block in plan(function, wanted, self.limits(function, worthwhile_gap))
        ]

    @property
    def in_flight(self) -> int:
        """Requests that may wait for their answers at once."""
        return 1


class NetworkDevice(ModbusDevice):
    """A device behind Modbus TCP. Many servers answer to any unit number, some only to 0 or 255."""

    unit: Annotated[int, Field(ge=0, le=255)] = 1
    max_in_flight: Annotated[int, Field(ge=1, le=32)] = 1

    @across("pause", "max_in_flight")
    def _no_pause_in_flight(self) -> Iterator[Fault]:
        if self.pause and self.max_in_flight > 1:
            yield ("max_in_flight",), "pause asks for silence between requests, max_in_flight for none: choose one"

    @property
    def in_flight(self) -> int:
        """Requests that may wait for their answers at once."""
        return self.max_in_flight


def _serial_unit(unit: Any) -> Any:
    if unit == 0 and not isinstance(unit, bool):
        raise ValueError("unit 0 is the broadcast: nobody answers to it")
    return unit


class SerialDevice(ModbusDevice):
    """A device on a serial line."""

    unit: Annotated[int, Field(ge=1, le=247), BeforeValidator(_serial_unit)]


class _Connection(ConnectionSettings):
    """What every way to reach Modbus devices has in common."""

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """What is hardly meant, as warnings."""
        del every
        return [("warning", place, text) for place, text in hints(self.devices)]


class ModbusTcp(_Connection):
    """A Modbus TCP server or gateway."""

    driver: Literal["modbus-tcp"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    devices: Mapping[DeviceName, NetworkDevice] = Field(min_length=1)


class ModbusRtuTcp(_Connection):
    """A serial line behind a converter that passes RTU frames over TCP unchanged."""

    driver: Literal["modbus-rtu-tcp"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    devices: Mapping[DeviceName, SerialDevice] = Field(min_length=1)


class ModbusRtu(_Connection):
    """A serial line."""

    driver: Literal["modbus-rtu"]
    port: Annotated[str, Field(min_length=1)]
    baudrate: Annotated[int, Field(ge=50, le=4_000_000)] = 19_200
    parity: Literal["none", "even", "odd"] = "even"
    stopbits: Annotated[Literal[1, 2], NumberOf] = 1
    bytesize: Annotated[Literal[8], NumberOf] = 8  # RTU sends whole bytes
    rs485: bool = False  # the UART switches the RS-485 driver with RTS (Linux kernel mode)
    timeout: Duration = 1.0
    devices: Mapping[DeviceName, SerialDevice] = Field(min_length=1)

    def timing(self) -> LineTiming:
        """The line's character time and silent interval."""
        return LineTiming.of(self.baudrate, self.parity != "none", self.stopbits)

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Also the share of the line's time that the polls take: a warning above 70 %, an error above 100 %."""
        found = super().findings(every)
        timing = self.timing()
        share = sum(
            poll_s(device.blocks(timing.worthwhile_gap()), timing, device.pause or 0.0) / every[name]
            for name, device in self.devices.items()
            if every.get(name)
        )
        if share <= 0.7:
            return found
        text = f"the polls need {share:.0%} of the line's time at {self.baudrate} baud"
        if share > 1.0:
            return [*found, ("error", ("baudrate",), f"{text}: poll less often, raise the baud rate or split the line")]
        return [*found, ("warning", ("baudrate",), f"{text}: little is left for retries and writes")]


ModbusConnection = ModbusTcp | ModbusRtuTcp | ModbusRtu
