"""Recorded data: a CSV file with a time column and one column per tag -> Readings in the order of the file.

The time is ISO 8601 (taken as UTC where it has no zone) or epoch milliseconds. An empty cell is no reading; a cell that
is no value of its tag's type is a bad reading (decode), a value outside the tag's range one with reason range.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from gateway.errors import GatewayError
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRUTHS: Final = {"true": 1.0, "false": 0.0, "on": 1.0, "off": 0.0, "yes": 1.0, "no": 0.0}
_VALUE_COLUMN: Final = "value"
_MOST_MS: Final = 253_402_300_800_000  # the year 10000


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file holds: readings row by row, the tags that have a column, and columns that name no tag."""

    readings: Readings
    tags: Sequence[int]
    ignored: Sequence[str]


def read(file: Path, table: TagTable, usable: Sequence[int], tag: str | None = None) -> Recording:
    """Load a CSV file. `usable` are the tags that may be recorded; `tag` takes one value column whatever its name.

    FileNotFoundError, or GatewayError with the line that can't be used.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = [row for row in csv.reader(opened) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise GatewayError(f"{file}: this is no CSV file: {error}") from error
    if not rows or len(rows[0]) < 2:
        raise GatewayError(f"{file}: expected a time column and at least one value column")
    header, body = [cell.strip() for cell in rows[0]], rows[1:]
    if _is_time(header[0]):
        if tag is None:
            raise GatewayError(f"{file}:1: expected a first line with the names of the columns")
        header, body = ["time", _VALUE_COLUMN, *header[2:]], rows
    columns, ignored = _columns(file, header, table, usable, tag)
    lines = {id(row): number for number, row in enumerate(rows, 1)}
    times = np.empty(len(body), np.int64)
    for number, row in enumerate(body):
        if len(row) != len(rows[0]):
            raise GatewayError(f"{file}:{lines[id(row)]}: expected {len(rows[0])} columns, not {len(row)}")
        try:
            times[number] = parse_time(row[0].strip())
        except ValueError as error:
            raise GatewayError(f"{file}:{lines[id(row)]}: {error}") from error
    return Recording(_readings(body, times, columns, table), [index for _, index in columns], ignored)


def parse_time(text: str) -> int:
    """UTC in ns, whole microseconds, of ISO 8601 or epoch milliseconds; ValueError with one sentence."""
    if _is_number(text):
        if not abs(float(text)) < _MOST_MS:
            raise ValueError(f"{text} is no time in milliseconds since 1970")
        return int(text) * 1_000_000 if text.lstrip("+-").isdigit() else round(float(text) * 1000.0) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: expected ISO 8601 or milliseconds since 1970") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return since // timedelta(microseconds=1) * 1000


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def _columns(
    file: Path, header: Sequence[str], table: TagTable, usable: Sequence[int], tag: str | None
) -> tuple[list[tuple[int, int]], list[str]]:
    """(column, tag) of the columns to read, and the names of the others."""
    names = {table[index].full_name: index for index in usable}
    if tag is not None:
        if tag not in names:
            raise GatewayError(f"there is no tag {tag!r} with recorded values{_nearest(tag, names)}")
        wanted = next((name for name in (tag, _VALUE_COLUMN) if name in header[1:]), header[1])
        return [(header.index(wanted, 1), names[tag])], []
    found = [(column, names[name]) for column, name in enumerate(header) if column and name in names]
    ignored = [name for name in header[1:] if name not in names]
    if not found:
        example = header[1]
        raise GatewayError(f"{file}: no column is named after a tag: {example!r}{_nearest(example, names)}; try --tag")
    if len({index for _, index in found}) != len(found):
        raise GatewayError(f"{file}: a column stands twice")
    return found, ignored


def _nearest(name: str, names: Sequence[str] | dict[str, int]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _readings(
    body: Sequence[Sequence[str]],
    times: np.ndarray[tuple[int], np.dtype[np.int64]],
    columns: Sequence[tuple[int, int]],
    table: TagTable,
) -> Readings:
    """All readings, row by row and in a row by column."""
    shape = len(body), len(columns)
    value, quality = np.empty(shape), np.zeros(shape, np.uint8)
    present = np.ones(shape, np.bool_)
    texts: dict[int, str] = {}
    for place, (column, index) in enumerate(columns):
        tag = table[index]
        cells = [row[column].strip() for row in body]
        present[:, place] = [bool(cell) for cell in cells]
        value[:, place] = [_value(cell, tag, texts) for cell in cells]
        quality[~np.isfinite(value[:, place]), place] = Quality.BAD_DECODE
        low, high = tag.low, tag.high
        if tag.kind != "text" and (low is not None or high is not None):
            with np.errstate(invalid="ignore"):
                outside = value[:, place] < (-np.inf if low is None else low)
                outside |= value[:, place] > (np.inf if high is None else high)
            quality[outside & (quality[:, place] == 0), place] = Quality.BAD_RANGE
    kept = present.ravel()
    tags = np.array([index for _, index in columns], np.uint32)
    value[quality == Quality.BAD_DECODE] = np.nan
    return Readings(
        np.tile(tags, len(body))[kept],
        np.repeat(times, len(columns))[kept],
        value.ravel()[kept],
        quality.ravel()[kept],
        texts,
    )


def _value(cell: str, tag: Tag, texts: dict[int, str]) -> float:
    if tag.kind == "text":
        code = text_hash(cell)
        texts[code] = cell
        return float(code)
    try:
        return float(cell)
    except ValueError:
        return _TRUTHS.get(cell.lower(), math.nan) if tag.kind == "bool" else math.nan
