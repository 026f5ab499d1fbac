"""`gateway tags`: the resolved tag table of a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.config import Configuration, load

COLUMNS = ("tag", "address", "type", "unit", "every", "steps", "write")


def rows(configuration: Configuration) -> Iterator[dict[str, object]]:
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


def print_tags(file: Path, *, as_json: bool) -> None:
    """Print the table, or one JSON list."""
    found = list(rows(load(file)))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=column == "tag", overflow="fold")
    for row in found:
        every = row["every_s"]
        steps, write = row["steps"], row["write"]
        table.add_row(
            str(row["tag"]),
            str(row["address"]),
            str(row["type"]),
            str(row["unit"]),
            "" if every is None else f"{every:g}s",
            ", ".join(steps) if isinstance(steps, list) else "",
            "" if write is None else "yes",
        )
    Console(width=None if Console().is_terminal else 160, highlight=False).print(table)
