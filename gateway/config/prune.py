"""Cuts faulty parts out of a configuration's data, so that what is left can be checked too. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import ErrorDetails


def cut(data: dict[str, Any], errors: Sequence[ErrorDetails]) -> None:
    """Remove in place the deepest key each error is about; where one is missing, what it is missing in."""
    for error in errors:
        loc = error["loc"][:-1] if error["type"] == "missing" else error["loc"]
        here: Any = data
        found: tuple[Any, int | str] | None = None
        for step in loc:
            if not isinstance(here, dict) or step not in here:
                break
            found, here = (here, step), here[step]
        if found is not None:
            found[0].pop(found[1], None)


def without_faults(connection: dict[str, Any], errors: Sequence[ErrorDetails]) -> Iterator[tuple[str, str]]:
    """Remove in place what each error is about: a tag, a device, or a key; yields (device, tag) of removed tags."""
    for error in errors:
        match [step for step in error["loc"] if isinstance(step, str)]:
            case ["devices", device, "tags", tag, *_] if tag in _tags(connection, device):
                del connection["devices"][device]["tags"][tag]
                yield device, tag
            case ["devices", device, key, *_] if key in _device(connection, device):
                del connection["devices"][device][key]
            case ["devices", device, *_] if device in connection["devices"]:
                del connection["devices"][device]
            case [key, *_] if key not in {"devices", "driver"}:
                connection.pop(key, None)


def _device(connection: dict[str, Any], name: str) -> dict[str, Any]:
    device = connection["devices"].get(name)
    return device if isinstance(device, dict) else {}


def _tags(connection: dict[str, Any], device: str) -> dict[str, Any]:
    tags = _device(connection, device).get("tags")
    return tags if isinstance(tags, dict) else {}
