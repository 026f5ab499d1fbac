"""How instruments that send text lines are configured: the port, the line's form, what to ask, what to pick out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.field.serialport import SerialLine
from gateway.runtime.model import Fault, across
from gateway.runtime.settings import Duration, Name, NumberOf

Checksum = Literal["none", "xor", "sum8", "crc16-modbus", "nmea"]
ValueType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
    "string",
]  # fmt: skip


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    if not groups:
        raise ValueError("has no named group: write (?P<weight>...) around what a tag shall get")
    return text


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("expected host:port")
    return text


def _bytes(text: str) -> str:
    if any(ord(sign) > 255 for sign in text):
        raise ValueError("goes out byte by byte (latin-1): it has a sign beyond")
    return text


Bytes = Annotated[str, AfterValidator(_bytes)]


class LineTag(TagSettings):
    """A named group of the pattern, as a number or a text."""

    type: ValueType = "float64"
    field: str
    decimal: Literal[".", ","] = "."

    @across("write")
    def _read_only(self) -> Iterator[Fault]:
        if self.write is not None:
            yield ("write",), "instruments that send lines can only be read"

    def address_text(self) -> str:
        """The group's name."""
        return self.field


class LineDevice(DeviceSettings):
    """One instrument, told from others on the same line by its pattern, or by its own `poll`."""

    pattern: Annotated[str, AfterValidator(_pattern)]
    checksum: Checksum = "none"
    poll: Annotated[Bytes, Field(min_length=1)] | None = None  # where not the connection's
    stale: Duration | None = None  # a talker quiet for longer is bad/stale; default: twice the longer of every, timeout
    tags: Mapping[Name, LineTag] = Field(min_length=1)

    @across("pattern", "tags")
    def _fields_exist(self) -> Iterator[Fault]:
        groups = re.compile(self.pattern).groupindex
        for name, tag in self.tags.items():
            if tag.field not in groups:
                yield ("tags", name, "field"), f"the pattern has no group {tag.field!r}: one of {', '.join(groups)}"


class LineConnection(ConnectionSettings):
    """A serial port or a TCP stream that carries text lines."""

    driver: Literal["line"]
    port: Annotated[str, Field(min_length=1)] | None = None
    tcp: Annotated[str, AfterValidator(_endpoint)] | None = None
    baudrate: int = Field(9600, ge=50, le=4_000_000)
    bytesize: Annotated[Literal[5, 6, 7, 8], NumberOf] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Annotated[Literal[1, 2], NumberOf] = 1
    rs485: bool = False  # the kernel switches the transceiver
    terminator: Bytes = Field("\r\n", min_length=1, max_length=8)
    poll: Annotated[Bytes, Field(min_length=1)] | None = None
    devices: Mapping[DeviceName, LineDevice] = Field(min_length=1)

    @across("port", "tcp")
    def _one_place(self) -> Iterator[Fault]:
        if (self.port is None) == (self.tcp is None):
            yield () if self.port is None else ("tcp",), "expected exactly one of port and tcp"

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Texts that look as if single quotes had kept what was meant as a control character."""
        del every
        texts: dict[tuple[str, ...], str | None] = {("terminator",): self.terminator, ("poll",): self.poll}
        texts.update({("devices", name, "poll"): device.poll for name, device in self.devices.items()})
        text = "holds a backslash as it is: only double quotes make control characters of \\r and \\n"
        return [("warning", place, text) for place, sent in texts.items() if sent is not None and "\\" in sent]

    @property
    def place(self) -> str:
        """The port or endpoint, for people."""
        return self.port or f"tcp://{self.tcp}"

    @property
    def serial(self) -> SerialLine:
        """How the port is opened; for a TCP stream only its character time means something."""
        return SerialLine(self.port or "", self.baudrate, self.bytesize, self.parity, self.stopbits, rs485=self.rs485)

    @property
    def quiet_s(self) -> float:
        """How long the line must be silent after an answer that did not come: max(timeout, 10 times t3.5)."""
        return self.timeout if self.port is None else max(self.timeout, 35 * self.serial.character_s)
