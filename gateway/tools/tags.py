"""`gateway tags`: the resolved tag table of a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config import Configuration, load
from gateway.tools.columns import aligned

COLUMNS = ("tag", "address", "type", "unit", "every", "steps", "write")


def rows(configuration: Configuration) -> Iterator[dict[str, Any]]:
    """One row for each tag, in the order of the table."""
    for plan in configuration.tags:
        tag = plan.tag
        yield {
            "tag": tag.full_name,
            "device": tag.device,
            "address": tag.address,
            "type": tag.type,
            "unit": tag.unit,
            "range": [tag.low, tag.high],
            "scale": tag.scale,
            "offset": tag.offset,
            "every_s": plan.every_s,
            "steps": [step.kind for step in plan.steps],
            "write": None if tag.write is None else [tag.write.low, tag.write.high],
            "computed": plan.computed,
        }


def addresses(configuration: Configuration) -> Iterator[str]:
    """A line for each device: where each of its tags comes from, Modbus addresses in both notations."""
    for device, bus in configuration.devices():
        measured = [plan.tag for plan in configuration.tags if plan.tag.device == device and not plan.computed]
        places = ", ".join(f"{tag.name} {tag.address}" for tag in measured)
        yield f"  {device}, every {bus.every[device]:g}s: {places}"


def print_tags(file: Path, *, as_json: bool) -> None:
    """Print the table, or one JSON list."""
    found = list(rows(load(file)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    cells = [
        (
            str(row["tag"]),
            str(row["address"]),
            str(row["type"]),
            str(row["unit"]),
            "" if row["every_s"] is None else f"{row['every_s']:g}s",
            ", ".join(row["steps"]),
            "" if row["write"] is None else "yes",
        )
        for row in found
    ]
    for line in aligned(COLUMNS, cells):
        print(line)
