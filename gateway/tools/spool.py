"""`gateway spool status|export FILE`: what waits in a spool's file. Read-only, also while the daemon runs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.spool.look import blocks, event_of, status
from gateway.tools.rows import json_lines


def print_status(file: Path, *, as_json: bool = False) -> None:
    """Print how much waits and for whom; SpoolError where the file can't be read."""
    found = status(file)
    if as_json:
        print(json.dumps(found))
        return
    print(f"{file}: {found['blocks']} blocks, {found['bytes'] / (1 << 20):.1f} MiB")
    for name, waiting in found["upstreams"].items():
        since = waiting["oldest"]
        age = "" if since is None else f", oldest {_age(time.time() - since / 1000)} old"
        print(f"  {name}: {waiting['readings']} readings in {waiting['blocks']} blocks{age}")


def print_export(file: Path) -> int:
    """Print every reading and event as a JSON line, oldest block first; returns how many blocks could not be read.

    SpoolError where the file can't be read.
    """
    damaged = 0
    for line in export(file):
        if line.startswith("{"):
            print(line)
        else:
            damaged += 1
            print(f"gateway: {file}: {line}", file=sys.stderr)
    return damaged


def export(file: Path) -> Iterator[str]:
    """The lines of `print_export`; a block that can't be read gives a line that isn't JSON."""
    for block in blocks(file):
        if isinstance(block, str):
            yield block
            continue
        yield from json_lines("", block.id, block.readings, block.table)
        for event in block.events:
            yield json.dumps(event_of(event), ensure_ascii=False, separators=(",", ":"))


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
