"""From the bytes of a PLC to raw numbers and texts, and back. Pure; bytes may be anything."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.field.s7.plan import Block, Item
from gateway.field.s7.settings import S7Tag
from gateway.readings import Quality, QualityColumn, ValueColumn, text_hash

_DTYPES: Final[Mapping[str, str]] = {
    "int8": "i1",
    "uint8": "u1",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}


class S7Decoder:
    """The decoder of one device's tags."""

    def __init__(self, tags: Sequence[S7Tag]) -> None:
        self._tags = tags
        self._types = [tag.type for tag in tags]
        self._bits = np.array([tag.place.bit for tag in tags], np.uint8)

    def decode(
        self, block: Block, data: bytes, raw: ValueColumn, quality: QualityColumn, texts: dict[int, str]
    ) -> None:
        """Fill in the rows of a block's items; too few bytes give bad/decode."""
        image = np.frombuffer(data, np.uint8)
        groups: dict[str, list[Item]] = {}
        for item in block.items:
            if item.start - block.start + item.size > len(image):
                quality[item.row] = Quality.BAD_DECODE
                continue
            quality[item.row] = Quality.GOOD
            groups.setdefault(self._types[item.row], []).append(item)
        for kind, items in groups.items():
            rows = np.fromiter((item.row for item in items), np.intp, len(items))
            starts = np.fromiter((item.start - block.start for item in items), np.intp, len(items))
            if kind == "string":
                self._strings(data, rows, starts, raw, quality, texts)
            elif kind == "bool":
                raw[rows] = image[starts] >> self._bits[rows] & 1
            else:
                raw[rows] = _numbers(image, starts, np.dtype(_DTYPES[kind]))

    def _strings(
        self,
        data: bytes,
        rows: NDArray[np.intp],
        starts: NDArray[np.intp],
        raw: ValueColumn,
        quality: QualityColumn,
        texts: dict[int, str],
    ) -> None:
        for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
            longest, used = data[start], data[start + 1]
            if used > longest or used > self._tags[row].length:
                quality[row] = Quality.BAD_DECODE
                continue
            text = data[start + 2 : start + 2 + used].decode("latin-1")
            key = text_hash(text)
            raw[row], texts[key] = key, text


def _numbers(image: NDArray[np.uint8], starts: NDArray[np.intp], dtype: np.dtype[np.generic]) -> ValueColumn:
    gathered = image[starts[:, None] + np.arange(dtype.itemsize)]
    numbers: ValueColumn = gathered.view(dtype).reshape(-1).astype(np.float64)
    return numbers


def encode(tag: S7Tag, raw: float | str) -> bytes:
    """The bytes of one value, a bit as one byte. ValueError where the type can't hold it."""
    if tag.type == "string":
        text = str(raw).encode("latin-1")
        if len(text) > tag.length:
            raise ValueError(f"the text is longer than {tag.length} characters")
        return bytes((tag.length, len(text))) + text
    if isinstance(raw, str):
        raise ValueError("the tag takes no text")
    if tag.type == "bool":
        return bytes((raw != 0,))
    if tag.type in {"float32", "float64"}:
        try:
            return struct.pack(">f" if tag.type == "float32" else ">d", raw)
        except OverflowError as error:
            raise ValueError("the number is too large") from error
    width = np.dtype(_DTYPES[tag.type]).itemsize
    try:
        return int(raw).to_bytes(width, "big", signed=tag.type.startswith("i"))
    except OverflowError as error:
        raise ValueError("the number is too large") from error
