"""`gateway write`, `reload`, `acknowledge` and `trace`: asking the running daemon through its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config import load
from gateway.config.document import parse
from gateway.config.root import GatewaySettings
from gateway.runtime.control import call, stream
from gateway.spool.settings import SpoolSettings

SOCKET: Final = "control.sock"
_DATABASE: Final = b"SQLite format 3\0"
_NOT_WRITTEN: Final = {
    "denied": "it has no write: section, or is written too often",
    "unknown_tag": "the running daemon has no such tag",
    "out_of_range": "beyond what write: or the tag's type allows",
    "bad_type": "the tag's type takes no such value",
    "timeout": "no answer in time: it may have been carried out, read the tag before you write again",
    "failed": "the device refused it, or it can't be reached",
    "mismatch": "the device kept another value",
}


def spool_of(file: Path) -> Path:
    """The spool's file of a configuration, or the file itself where it is a spool. ConfigError."""
    with file.open("rb") as opened:
        if opened.read(len(_DATABASE)) == _DATABASE:
            return file
    try:
        data = parse(file.read_text(encoding="utf-8")).data
        spool = SpoolSettings.model_validate({"path": _entry(data, "spool", "path")})
        gateway = GatewaySettings.model_validate({"name": _entry(data, "gateway", "name")})
    except ValueError:  # no text, or one of the two is wrong: `load` tells where
        root = load(file).root
        spool, gateway = root.spool, root.gateway
    return spool.place(gateway.name)


def _entry(data: Any, section: str, key: str) -> Any:
    found = data.get(section) if isinstance(data, dict) else None
    return found.get(key) if isinstance(found, dict) else None


def socket_of(file: Path) -> Path:
    """Where the daemon of a configuration listens; even of one that is wrong now, as a reload may find it."""
    return spool_of(file).absolute().with_name(SOCKET)


def ask(file: Path, command: str, params: Mapping[str, Any]) -> Any:
    """The daemon's answer. ControlError with a sentence for the person."""
    return asyncio.run(call(socket_of(file), command, params))


def not_written(result: Mapping[str, Any]) -> str:
    """Why a write was not done, from its result: wire.md's word and what it means."""
    status = str(result["status"])
    return f"{status}: {_NOT_WRITTEN[status]}" if status in _NOT_WRITTEN else status


def follow(file: Path, command: str, params: Mapping[str, Any]) -> None:
    """Print a stream's items, a line each, until Ctrl-C."""

    async def show() -> None:
        async for item in stream(socket_of(file), command, params):
            print(item, flush=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(show())


def typed(file: Path, tag: str, text: str) -> Any:
    """The value as JSON has it: text stays text for a text tag, else a number, true or false where it is one."""
    table = load(file).table
    index = table.find(tag)
    if index is not None and table[index].kind == "text":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
