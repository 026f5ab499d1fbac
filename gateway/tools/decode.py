"""`gateway decode`: columns payloads -> JSON lines or CSV.

A file, or standard input, holds one raw payload or a line of hexadecimal digits for each (`mosquitto_sub -F %x`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from gateway.block import BlockId
from gateway.codec.message import unpack
from gateway.errors import CodecError, GatewayError
from gateway.readings import TagTable
from gateway.tools.rows import CSV_HEADER, csv_lines, json_lines

UNIT_NS: Final = {"ms": 1_000_000, "us": 1_000, "ns": 1}
HEX_TEXT: Final = frozenset(b"0123456789abcdefABCDEF \t\r\n")


class DecodeError(GatewayError):
    """The input is no payload, or its dictionary can't be found."""


def print_payloads(files: list[Path], dictionary: Path | None, *, as_csv: bool = False, time_unit: str = "ms") -> None:
    """Print the readings of each file (none: of standard input). OSError; DecodeError says which one is wrong and why.

    `dictionary` is the JSON published retained on `{gateway}/dictionary/<hash>`, or a folder with such files, each
    named by its hash with or without `.json`. Without it tags are numbers.
    """
    if as_csv:
        print(",".join(CSV_HEADER))
    for name, data in _inputs(files):
        for line in lines(name, data, dictionary, as_csv=as_csv, unit_ns=UNIT_NS[time_unit]):
            print(line)
        sys.stdout.flush()  # somebody may be watching what comes in live


def lines(
    name: str, data: bytes, dictionary: Path | None, *, as_csv: bool = False, unit_ns: int = 1_000_000
) -> Iterator[str]:
    """The lines of one payload."""
    try:
        header, readings = unpack(data)
    except CodecError as error:
        raise DecodeError(f"{name}: no columns payload: {error}") from error
    table = None if dictionary is None else load_dictionary(dictionary, header.dictionary)
    if table is not None and len(readings) and int(readings.tag.max()) >= len(table):
        raise DecodeError(f"{name}: names a tag that dictionary {header.dictionary} doesn't have")
    if as_csv:
        yield from csv_lines(readings, table, header.device, unit_ns)
    else:
        block = BlockId(header.boot, header.block)
        yield from json_lines(header.gateway, block, readings, table, header.device, unit_ns)


def load_dictionary(place: Path, digest: str) -> TagTable:
    """The table of a hash from a file, or from the file of that name in a folder; DecodeError, OSError."""
    found = place
    if place.is_dir():
        names = (place / digest, place / f"{digest}.json")
        found = next((path for path in names if path.is_file()), names[1])
    try:
        table = TagTable.from_json(found.read_bytes())
    except ValueError as error:
        raise DecodeError(f"{found}: {error}") from error
    if table.digest != digest:
        raise DecodeError(f"{found}: has hash {table.digest}, the payload needs {digest}")
    return table


def _inputs(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    if not files:
        yield from split("standard input", sys.stdin.buffer)
    for file in files:
        with file.open("rb") as opened:
            yield from split(str(file), opened)


def split(name: str, source: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The payloads of an input with the name of each: one raw one, or one for each line of digits as it comes."""
    first = source.readline()
    if not set(first) <= HEX_TEXT:  # a raw payload begins with its version, which is no digit
        yield name, first + source.read()
        return
    for number, line in enumerate(chain((first,), source), start=1):
        if digits := line.strip():
            try:
                yield f"{name}, line {number}", bytes.fromhex(digits.decode())
            except ValueError as error:
                raise DecodeError(f"{name}, line {number}: expected an even number of hexadecimal digits") from error
