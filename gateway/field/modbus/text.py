"""Text in registers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.field.modbus.layout import Layout
from gateway.readings import text_hash


def unswapped(data: bytes, layout: Layout) -> bytes:
    """The bytes in reading order: the high byte of a register first, or the low one where the layout says so."""
    if not layout.swapped:
        return data
    turned = bytearray(data)
    turned[0::2], turned[1::2] = data[1::2], data[0::2]
    return bytes(turned)


@dataclass(slots=True)
class TextField:
    """One text at a byte offset of the image. It changes rarely, so the last answer is kept."""

    offset: int
    layout: Layout
    encoding: str
    _bytes: bytes | None = field(default=None, init=False)
    _text: str | None = field(default=None, init=False)
    _hash: float = field(default=float("nan"), init=False)

    def read(self, registers: bytes, texts: dict[int, str]) -> float:
        """The text's hash as a value, the text added to `texts`; NaN where the bytes are no text."""
        data = registers[self.offset : self.offset + 2 * self.layout.registers]
        if data != self._bytes:
            self._bytes = data
            try:
                self._text = unswapped(data, self.layout)[: self.layout.length].decode(self.encoding).rstrip("\0 \t")
                self._hash = float(text_hash(self._text))
            except UnicodeDecodeError:
                self._text, self._hash = None, float("nan")
        if self._text is not None:
            texts[int(self._hash)] = self._text
        return self._hash
