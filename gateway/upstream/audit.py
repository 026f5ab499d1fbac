"""The audit log: one JSON object per line, each sealed with the hash of all before it; old files are numbered.

    {"seq":7,"time":1732258800123,"kind":"request",...,"previous":"<hash of line 6>","hash":"<sha256>"}

`hash` is the SHA-256 of the line's object without `hash`, as compact JSON in the order written. A changed, removed or
inserted line breaks the chain from there on; a new file goes on with the old one's chain. The newest hash also travels
in the `write` events, so that a log cut off at its end can be told as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 10 << 20
KEPT_FILES: Final = 20
FIRST: Final = "0" * 64


class AuditLog:
    """Appends records; each is on disk when `record` returns. OSError where the disk refuses it."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT_FILES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._lock = asyncio.Lock()
        self._last: tuple[int, str] | None = None  # sequence number and hash of the newest record

    async def record(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        """Append one record; its hash."""
        async with self._lock:
            return await asyncio.to_thread(self._append, time_ms, kind, body)

    def _append(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        if self._last is None:
            self._resume(time_ms)
        self._rotate()
        return self._write(time_ms, kind, body)

    def _write(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        number, previous = self._last or (0, FIRST)
        content = {"seq": number + 1, "time": time_ms, "kind": kind, **body, "previous": previous}
        sealed = _hash(content)
        line = _compact({**content, "hash": sealed}) + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            done = os.write(descriptor, line)
            if done != len(line):
                os.ftruncate(descriptor, size)
                raise OSError(f"only {done} of {len(line)} bytes were written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._last = (number + 1, sealed)
        return sealed

    def _resume(self, time_ms: int) -> None:
        """Go on where the newest file ends; a line torn by a power cut is kept and said to be torn."""
        for path in reversed(files(self.path)):
            lines = path.read_bytes().split(b"\n")
            for line in reversed(lines[:-1]):
                record = _parse(line)
                if record is not None:
                    self._last = (int(record["seq"]), str(record["hash"]))
                    break
            if lines[-1] and path == self.path:
                with path.open("ab") as torn:
                    torn.write(b"\n")
                self._write(time_ms, "torn", {"torn": hashlib.sha256(lines[-1]).hexdigest()})
            if self._last is not None:
                return

    def _rotate(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < self._max_bytes:
            return
        older = files(self.path)[:-1]
        number = int(older[-1].name.rpartition(".")[2]) + 1 if older else 1
        self.path.rename(self.path.with_name(f"{self.path.name}.{number}"))
        for path in older[: max(0, len(older) + 1 - self._kept)]:
            path.unlink()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found; `fault` is empty where the chain holds."""

    files: int
    records: int
    fault: str = ""
    last: str = FIRST  # the newest hash of the part that holds


def verify(path: Path) -> Verdict:
    """Check the chain over all files of a log, oldest first. OSError where one can't be read."""
    count, previous, number = 0, None, None
    torn: tuple[str, bytes] | None = None
    found = files(path)
    for file in found:
        for row, line in enumerate(_lines(file), start=1):
            record = _parse(line)
            place = f"{file}:{row}"
            if record is None:
                if torn is not None:
                    return Verdict(len(found), count, f"{torn[0]}: no record", previous or FIRST)
                torn = (place, line)
                continue
            fault = _fault(record, previous, number, torn)
            if fault:
                return Verdict(len(found), count, f"{place}: {fault}", previous or FIRST)
            torn, count, previous, number = None, count + 1, str(record["hash"]), int(record["seq"])
    if torn is not None and torn[1]:
        return Verdict(len(found), count, f"{torn[0]}: no record", previous or FIRST)
    return Verdict(len(found), count, "" if found else f"{path}: there is no such log", previous or FIRST)


def _fault(record: Mapping[str, Any], previous: str | None, number: int | None, torn: tuple[str, bytes] | None) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    if _hash(content) != record["hash"]:
        return "the record was changed"
    if previous is None:  # older files may have been removed by rotation
        return "" if record["seq"] != 1 or record["previous"] == FIRST else "the first record names one before it"
    if record["previous"] != previous or record["seq"] != (number or 0) + 1:
        return "records before this one were changed, removed or put in"
    if torn is not None and record.get("torn") != hashlib.sha256(torn[1]).hexdigest():
        return "a line before this one is no record"
    return ""


def files(path: Path) -> list[Path]:
    """The files of a log, oldest first."""
    numbered = [
        (int(older.suffix[1:]), older) for older in path.parent.glob(f"{path.name}.*") if older.suffix[1:].isdigit()
    ]
    return [older for _, older in sorted(numbered)] + ([path] if path.exists() else [])


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("seq"), int) and "hash" in record:
            return record
    return None


def _compact(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _hash(content: Mapping[str, object]) -> str:
    return hashlib.sha256(_compact(content)).hexdigest()
