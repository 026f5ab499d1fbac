"""Modbus addresses as people write them: `holding:100`, `coil:3`, `holding:140.3`, Modicon `40101`.

Wire addresses count from 0 (Modbus Application Protocol 1.1b3, section 4.4); the Modicon notation counts from 1 and
names the table by its first digit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

Area = Literal["coil", "discrete", "holding", "input"]

READ_FUNCTION: Final[dict[Area, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
AREA_OF_FUNCTION: Final[dict[int, Area]] = {code: area for area, code in READ_FUNCTION.items()}
_MODICON: Final[dict[str, Area]] = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_DIGIT: Final[dict[Area, str]] = {area: digit for digit, area in _MODICON.items()}
_NAMED: Final = re.compile(r"(coil|discrete|holding|input):([0-9]{1,5})(?:\.([0-9]{1,2}|high))?")
_NUMBER: Final = re.compile(r"([0134])([0-9]{4,5})(?:\.([0-9]{1,2}|high))?")
LAST: Final = 65535
SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "pattern": f"^(?:{_NAMED.pattern}|{_NUMBER.pattern})$"},
        {"type": "integer", "minimum": 10_001, "maximum": 465_536},
    ],
    "examples": ["holding:100", 40101],
}


@dataclass(frozen=True, slots=True)
class Address:
    """One place in a device: the table, the address on the wire, and which part of a register is meant."""

    area: Area
    number: int  # 0..65535, as on the wire
    bit: int | None = None  # 0 = least significant
    high: bool = False  # the high byte of the register

    @property
    def is_bit_area(self) -> bool:
        """Whether the table holds single bits (coils, discrete inputs)."""
        return self.area in {"coil", "discrete"}

    @property
    def function(self) -> int:
        """The function code that reads it (1..4)."""
        return READ_FUNCTION[self.area]

    @property
    def writable(self) -> bool:
        """Whether the protocol can write it at all."""
        return self.area in {"coil", "holding"}

    @property
    def part(self) -> str:
        """`.3`, `.high` or nothing."""
        return ".high" if self.high else "" if self.bit is None else f".{self.bit}"

    @property
    def modicon(self) -> str:
        """The address in Modicon notation, five digits where they suffice."""
        number = self.number + 1
        return f"{_DIGIT[self.area]}{number:04d}" if number <= 9999 else f"{_DIGIT[self.area]}{number:05d}"

    def shifted(self, places: int) -> Address:
        """The address `places` further in the same table."""
        return Address(self.area, self.number + places, self.bit, self.high)

    def __str__(self) -> str:
        return f"{self.area}:{self.number}{self.part} ({self.modicon}{self.part})"


def parse(text: object) -> Address:
    """The address of a configuration value; ValueError says what is wrong with it."""
    if isinstance(text, bool) or not isinstance(text, (int, str, float)):
        raise ValueError("expected an address such as holding:100, coil:3 or 40101")
    if isinstance(text, float):
        raise ValueError(f'a bit of a Modicon address must be quoted: "{text}"')
    if isinstance(text, int) and 0 <= text < 10_001:
        raise ValueError(
            f'the number {text} is no address: a coil in Modicon notation must be quoted ("{text:05d}"), '
            "or write coil:N, holding:N"
        )
    words = str(text)
    if match := _NAMED.fullmatch(words):
        area: Area = match[1]  # type: ignore[assignment]  # the pattern allows nothing else
        return _checked(area, int(match[2]), match[3], words)
    if match := _NUMBER.fullmatch(words):
        number = int(match[2])
        if number == 0:
            raise ValueError(f"{words}: Modicon addresses count from 1")
        return _checked(_MODICON[match[1]], number - 1, match[3], words)
    raise ValueError(
        f"{words!r} is no address: expected holding:N, input:N, coil:N, discrete:N or Modicon such as 40101"
    )


def _checked(area: Area, number: int, part: str | None, text: str) -> Address:
    if number > LAST:
        raise ValueError(f"{text}: addresses end at {LAST}")
    if part is None:
        return Address(area, number)
    if area in {"coil", "discrete"}:
        raise ValueError(f"{text}: a {area} is a single bit and has no parts")
    if part == "high":
        return Address(area, number, high=True)
    if int(part) > 15:
        raise ValueError(f"{text}: a register has the bits 0 to 15")
    return Address(area, number, bit=int(part))
