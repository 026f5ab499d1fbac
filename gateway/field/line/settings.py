"""How instruments that send text lines are configured: the port, the line's form, what to ask, what to pick out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.field.serialport import SerialLine
from gateway.runtime.settings import Duration, Name

Checksum = Literal["none", "xor", "sum8", "crc16-modbus", "nmea"]
NumberType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"
]


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


class LineTag(TagSettings):
    """A named group of the pattern, as a number or a text."""

    type: NumberType | Literal["string"] = "float64"
    field: str
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _read_only(self) -> LineTag:
        if self.write is not None:
            raise ValueError("line instruments can't be written: remove write")
        return self

    def address_text(self) -> str:
        """The group's name."""
        return self.field


class LineDevice(DeviceSettings):
    """One instrument, told from others on the same line by its pattern, or by its own `poll`."""

    pattern: Annotated[str, AfterValidator(_pattern)]
    checksum: Checksum = "none"
    poll: str | None = None  # where not the connection's
    stale: Duration | None = None  # a talker quiet for longer is bad/stale; default: twice the longer of every, timeout
    tags: Mapping[Name, LineTag] = Field(min_length=1)

    @model_validator(mode="after")
    def _fields_exist(self) -> LineDevice:
        groups = re.compile(self.pattern).groupindex
        for name, tag in self.tags.items():
            if tag.field not in groups:
                raise ValueError(
                    f"tags.{name}.field: the pattern has no group {tag.field} (it has {', '.join(groups)})"
                )
        return self


class LineConnection(ConnectionSettings):
    """A serial port or a TCP stream that carries text lines."""

    driver: Literal["line"]
    port: str | None = None
    tcp: Annotated[str, AfterValidator(_endpoint)] | None = None
    baudrate: int = Field(9600, ge=50, le=4_000_000)
    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    rs485: bool = False  # the kernel switches the transceiver
    terminator: str = Field("\r\n", min_length=1, max_length=8)
    poll: str | None = Field(None, min_length=1)
    devices: Mapping[DeviceName, LineDevice] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_place(self) -> LineConnection:
        if (self.port is None) == (self.tcp is None):
            raise ValueError("expected exactly one of port and tcp")
        for text in (self.terminator, self.poll, *(device.poll for device in self.devices.values())):
            if text is not None and any(ord(sign) > 255 for sign in text):
                raise ValueError("terminator and poll are bytes (latin-1): one of them has a sign beyond")
        return self

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
