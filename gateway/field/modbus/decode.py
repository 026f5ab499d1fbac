"""Register bytes -> Readings columns, all values of a poll at once. Pure.

    answers of all blocks --join--> one image --gather by (type, order)--> raw --scale--> value, quality

Groups of one layout are gathered with one index array and read through one numpy view; nothing is done per value
except for text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.field.modbus.layout import Layout
from gateway.field.modbus.plan import Block, Span
from gateway.field.modbus.scaling import EXACT, PLAIN, Scaling
from gateway.field.modbus.text import TextField
from gateway.readings import NO_TEXTS, Mask, Quality, QualityColumn, Readings, ValueColumn

Words = NDArray[np.uint16]
Index = NDArray[np.intp]
_REGISTERS: Final = 2  # function codes above it answer registers, the others bits
_HIGH_BYTE: Final = 8


@dataclass(frozen=True, slots=True)
class Field:
    """One wanted value: its tag, where it lies, and how its registers become an engineering value."""

    tag: int
    function: int
    span: Span
    layout: Layout
    bit: int | None = None
    high: bool = False
    encoding: str = "utf-8"
    scaling: Scaling = PLAIN
    low: float | None = None
    top: float | None = None


class _Image:
    """The answers of a poll as words and as bits."""

    def __init__(self, registers: bytes, bits: bytes) -> None:
        self.registers = registers
        self.words: Words = np.frombuffer(registers, ">u2").astype("<u2")
        self.bits = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little") if bits else np.empty(0, np.uint8)

    def of(self, layout: Layout) -> Words:
        return np.frombuffer(self.registers, "<u2") if layout.swapped else self.words


class _Numbers:
    """Numbers of whole registers in one layout."""

    def __init__(self, layout: Layout, places: Index) -> None:
        self._layout = layout
        inside = np.arange(layout.registers)
        # A little-endian view wants the least significant register first.
        inside = inside if layout.little_words else inside[::-1]
        self._index = (places[:, None] + inside).ravel()
        first, last = (int(self._index[0]), int(self._index[-1])) if len(places) else (0, -1)
        ascending = last - first + 1 == len(self._index) and bool(np.all(np.diff(self._index) == 1))
        self._slice = slice(first, last + 1) if ascending else None

    def fill(self, image: _Image, value: ValueColumn, quality: QualityColumn) -> None:
        words = image.of(self._layout)
        picked = words.take(self._index) if self._slice is None else words[self._slice]
        raw = np.ascontiguousarray(picked).view(self._layout.numpy)
        kind = self._layout.type
        if kind in {"bcd16", "bcd32"}:
            _decimals(raw, value)
            return
        value[:] = raw
        if kind == "uint64":
            quality[raw > EXACT] = Quality.UNCERTAIN_PRECISION
        elif kind == "int64":
            quality[(raw > EXACT) | (raw < -EXACT)] = Quality.UNCERTAIN_PRECISION


def _decimals(raw: NDArray[np.unsignedinteger], value: ValueColumn) -> None:
    """Binary coded decimals; a nibble above 9 gives NaN."""
    value[:] = 0.0
    wrong: Mask = np.zeros(len(raw), np.bool_)
    for digit in range(raw.dtype.itemsize * 2):
        nibble = (raw >> (4 * digit)) & 0xF
        wrong |= nibble > 9
        value += nibble * 10.0**digit
    value[wrong] = np.nan


class _Parts:
    """Bits or bytes of single registers."""

    def __init__(self, places: Index, shifts: NDArray[np.uint16], mask: int, signed: bool) -> None:
        self._places = places
        self._shifts = shifts
        self._mask = np.uint16(mask)
        self._signed = signed

    def fill(self, image: _Image, value: ValueColumn, _quality: QualityColumn) -> None:
        parts = (image.words.take(self._places) >> self._shifts) & self._mask
        value[:] = parts.astype(np.uint8).view(np.int8) if self._signed else parts


class _Bits:
    """Coils and discrete inputs."""

    def __init__(self, places: Index) -> None:
        self._places = places

    def fill(self, image: _Image, value: ValueColumn, _quality: QualityColumn) -> None:
        value[:] = image.bits.take(self._places)


class Decoder:
    """Decodes polls of one plan. Fields that stand in no block give no rows: their tags are `absent`."""

    def __init__(self, fields: Sequence[Field], blocks: Sequence[Block]) -> None:
        home = {(block.function, span): index for index, block in enumerate(blocks) for span in block.spans}
        self._lengths = [block.payload_bytes for block in blocks]
        self._is_register = [block.function > _REGISTERS for block in blocks]
        starts = _starts(blocks)
        groups: dict[tuple[object, ...], list[tuple[Field, int]]] = {}
        for field in fields:
            index = home.get((field.function, field.span))
            if index is not None:
                place = starts[index] + field.span.start - blocks[index].start
                groups.setdefault(_group(field), []).append((field, place))
        ordered = [field for members in groups.values() for field, _ in members]
        present = {(field.function, field.span) for field in ordered}
        absent = [field.tag for field in fields if (field.function, field.span) not in present]
        self.absent = np.array(absent, np.uint32)
        self.tag = np.array([field.tag for field in ordered], np.uint32)
        self._block = np.array([home[field.function, field.span] for field in ordered], np.intp)
        self._fills: list[tuple[slice, _Numbers | _Parts | _Bits]] = []
        self._texts: list[tuple[int, TextField]] = []
        row = 0
        for key, members in groups.items():
            rows = slice(row, row + len(members))
            row = rows.stop
            if key == ("text",):
                self._texts += [
                    (rows.start + number, TextField(2 * place, field.layout, field.encoding))
                    for number, (field, place) in enumerate(members)
                ]
            else:
                self._fills.append((rows, _filler(members)))
        scalings = np.array([field.scaling for field in ordered], np.float64).reshape(-1, 3)
        self._scaling = None if np.all(scalings == PLAIN) else np.ascontiguousarray(scalings.T)
        self._low = _limits([field.low for field in ordered], -np.inf)
        self._top = _limits([field.top for field in ordered], np.inf)

    def decode(self, payloads: Sequence[bytes | None], times_ns: Sequence[int], failures: Sequence[int]) -> Readings:
        """One row per value.

        `payloads` holds each block's data bytes in full length, or None: then the block's rows are NaN with its
        quality of `failures`. `times_ns` is UTC by block.
        """
        rows = len(self.tag)
        value, quality = np.empty(rows, np.float64), np.zeros(rows, np.uint8)
        image = self._image(payloads)
        texts: dict[int, str] = {}
        with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are the device's, and looked for below
            for span, filler in self._fills:
                filler.fill(image, value[span], quality[span])
            for row, text in self._texts:
                value[row] = text.read(image.registers, texts)
            self._finish(value, quality)
        if None in payloads:
            failed = np.array([payload is None for payload in payloads])[self._block]
            value[failed] = np.nan
            quality[failed] = np.array(failures, np.uint8)[self._block][failed]
        times = np.array(times_ns, np.int64).take(self._block)
        return Readings(self.tag, times, value, quality, texts or NO_TEXTS)

    def _image(self, payloads: Sequence[bytes | None]) -> _Image:
        filled = [
            bytes(length) if payload is None else payload
            for payload, length in zip(payloads, self._lengths, strict=True)
        ]
        if all(self._is_register):
            return _Image(b"".join(filled), b"")
        pairs = list(zip(filled, self._is_register, strict=True))
        return _Image(
            b"".join(payload for payload, register in pairs if register),
            b"".join(payload for payload, register in pairs if not register),
        )

    def _finish(self, value: ValueColumn, quality: QualityColumn) -> None:
        if self._scaling is not None:
            multiply, add, divide = self._scaling
            value *= multiply
            value += add
            value /= divide
        finite = np.isfinite(value)
        if not finite.all():
            value[~finite] = np.nan
            quality[~finite] = Quality.BAD_DECODE
        if self._low is not None:
            quality[value < self._low] = Quality.BAD_RANGE
        if self._top is not None:
            quality[value > self._top] = Quality.BAD_RANGE


def _starts(blocks: Sequence[Block]) -> list[int]:
    """Where each block begins in the image: in words, or in bits (an answer's bits are padded to whole bytes)."""
    starts, words, bits = [], 0, 0
    for block in blocks:
        if block.function > _REGISTERS:
            starts.append(words)
            words += block.count
        else:
            starts.append(bits)
            bits += 8 * block.payload_bytes
    return starts


def _group(field: Field) -> tuple[object, ...]:
    if field.function <= _REGISTERS:
        return ("coil",)
    if field.layout.type == "string":
        return ("text",)
    if field.layout.type in {"bool", "int8", "uint8"}:
        return ("part", field.layout.type)
    return ("number", field.layout)


def _filler(members: Sequence[tuple[Field, int]]) -> _Numbers | _Parts | _Bits:
    places = np.array([place for _, place in members], np.intp)
    field = members[0][0]
    if field.function <= _REGISTERS:
        return _Bits(places)
    kind = field.layout.type
    if kind == "bool":
        return _Parts(places, np.array([member.bit or 0 for member, _ in members], np.uint16), 1, signed=False)
    if kind in {"int8", "uint8"}:
        shifts = np.array([_HIGH_BYTE * member.high for member, _ in members], np.uint16)
        return _Parts(places, shifts, 0xFF, signed=kind == "int8")
    return _Numbers(field.layout, places)


def _limits(values: Sequence[float | None], none: float) -> ValueColumn | None:
    if all(value is None for value in values):
        return None
    return np.array([none if value is None else value for value in values], np.float64)
