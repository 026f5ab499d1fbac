"""How S7 PLCs are configured: address, rack and slot, and where each tag lies. Doesn't import snap7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.field.s7.address import Address, fits, parse
from gateway.runtime.model import Fault, across
from gateway.runtime.settings import Duration, Host, Name


def _address(text: str) -> str:
    return str(parse(text))


class S7Tag(TagSettings):
    """A value in a data block, in the markers, inputs or outputs. Words are big-endian, as the PLC keeps them."""

    type: Literal[
        "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"
    ]
    address: Annotated[str, AfterValidator(_address)]
    length: int = Field(254, ge=1, le=254)  # of a STRING, as declared in the PLC

    @model_validator(mode="before")
    @classmethod
    def _bit_is_bool(cls, value: Any) -> Any:
        """A bit's type needs not be said."""
        if isinstance(value, dict) and "type" not in value and isinstance(text := value.get("address"), str):
            try:
                size = parse(text).size
            except ValueError:
                return value
            if size == "X":
                return {**value, "type": "bool"}
        return value

    @across("address", "type")
    def _type_fits(self) -> Iterator[Fault]:
        if problem := fits(self.place, self.type):
            yield ("type",), problem

    @property
    def place(self) -> Address:
        """The parsed address."""
        return parse(self.address)

    def address_text(self) -> str:
        """The address in the international notation."""
        return self.address


class S7Device(DeviceSettings):
    """Some tags of the PLC. `max_gap`: bytes that may be read over to join two tags into one request."""

    max_gap: int = Field(16, ge=0, le=200)
    tags: Mapping[Name, S7Tag] = Field(min_length=1)


class S7Connection(ConnectionSettings):
    """One PLC. Slot 1 is right for a 1200 and 1500, a 300 sits in slot 2."""

    driver: Literal["s7"]
    host: Host
    port: int = Field(102, ge=1, le=65535)
    rack: int = Field(0, ge=0, le=7)
    slot: int = Field(1, ge=0, le=31)
    timeout: Duration = 2.0
    devices: Mapping[DeviceName, S7Device] = Field(min_length=1)

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """An error where the library that this driver needs isn't installed."""
        del every
        if find_spec("snap7") is None:
            return [("error", ("driver",), "needs python-snap7: install edge-gateway[s7]")]
        return []
