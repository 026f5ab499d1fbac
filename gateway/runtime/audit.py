"""The audit log: one JSON object per line, each sealed with the hash of all before it; old files are numbered.

    {"seq":7,"time":1732258800123,"kind":"request",...,"previous":"<hash of line 6>","hash":"<sha256>"}

`hash` is the SHA-256 of the line's object without `hash`, as compact JSON in UTF-8 and in the order written. A changed,
removed or inserted line breaks the chain from there on; a new file goes on with the old one's chain. What a power cut
tore is kept, and the next record, `torn`, says so with its hash. The newest hash also travels in the `write` events,
so that a log cut off at its end can be told as well. Lines hold printable characters only: anything else is escaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from gateway.runtime.disk import Disk

MAX_BYTES: Final = 10 << 20
KEPT_FILES: Final = 20
PATIENCE_S: Final = 10.0
CLOSE_S: Final = 3.0
FIRST: Final = "0" * 64
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class AuditLog:
    """Appends records while its `async with` block runs; each is on disk when `record` returns."""

    def __init__(
        self, path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT_FILES, patience_s: float = PATIENCE_S
    ) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._patience_s = patience_s
        self._disk = Disk("audit-disk")
        self._late: asyncio.Future[str] | None = None  # what nobody waits for any more
        self._last: tuple[int, str] | None = None  # number and hash of the newest record; None: look into the file

    async def __aenter__(self) -> Self:
        self._disk.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disk.close(CLOSE_S)

    async def record(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        """Append one record; its hash. OSError where the disk refuses it, or takes longer than anybody should wait."""
        if self._late is not None and not self._late.done():
            raise TimeoutError("the disk does not answer")
        work = self._disk.call(partial(self._append, time_ms, kind, body))
        await asyncio.wait([work], timeout=self._patience_s)
        if not work.done():
            self._late = work
            raise TimeoutError(f"the disk does not answer within {self._patience_s:g} s")
        return work.result()

    def _append(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        if self._last is None:
            self._resume(time_ms)
        self._rotate()
        return self._write(time_ms, kind, body)

    def _write(self, time_ms: int, kind: str, body: Mapping[str, object], lead: bytes = b"") -> str:
        number, previous = self._last or (0, FIRST)
        record = {"seq": number + 1, "time": time_ms, "kind": kind, **body, "previous": previous}
        content = json.loads(json.dumps(record))  # as a reader gets it: that is what the hash is of
        sealed = _hash(content)
        self._last = None  # a write that fails may leave anything
        self._put(lead + _line({**content, "hash": sealed}))
        self._last = (number + 1, sealed)
        return sealed

    def _put(self, data: bytes) -> None:
        descriptor = os.open(self.path, _FLAGS, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            done = os.write(descriptor, data)
            if done != len(data):
                raise OSError(f"only {done} of {len(data)} bytes were written")
            os.fsync(descriptor)
            if not size:
                _sync_folder(self.path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        finally:
            os.close(descriptor)

    def _resume(self, time_ms: int) -> None:
        """Go on where the newest file ends; what a power cut tore there is kept and said to be torn."""
        if self.path.exists() and not self.path.is_file():
            raise OSError(f"{self.path} is no file")
        torn = b""
        for path in reversed(files(self.path)):
            lines = path.read_bytes().split(b"\n")
            after = next((row for row in range(len(lines), 0, -1) if _parse(lines[row - 1])), 0)
            if path == self.path:
                torn = b"\n".join(lines[after:])
            if after:
                if path == self.path and after == len(lines):
                    self._put(b"\n")  # all that was torn off is the line's end
                record = _parse(lines[after - 1]) or {}
                self._last = (int(record["seq"]), str(record["hash"]))
                break
        if torn:
            rest = torn.removesuffix(b"\n")
            self._write(time_ms, "torn", {"torn": _digest(rest)}, lead=b"" if torn.endswith(b"\n") else b"\n")

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
    count, before = 0, None
    torn: list[bytes] = []
    torn_at = ""
    found = files(path)
    for file in found:
        for row, line in enumerate(_lines(file), start=1):
            record = _parse(line)
            place = f"{file}:{row}"
            if record is None:
                torn_at = torn_at or place
                torn.append(line)
                continue
            fault = _fault(record, before)
            if fault:
                return Verdict(len(found), count, f"{place}: {fault}", _last_hash(before))
            if torn and record.get("torn") != _digest(b"\n".join(torn)):
                return Verdict(len(found), count, f"{torn_at}: no record", _last_hash(before))
            torn, torn_at, count, before = [], "", count + 1, record
    if torn:
        return Verdict(len(found), count, f"{torn_at}: no record", _last_hash(before))
    return Verdict(len(found), count, "" if found else f"{path}: there is no such log", _last_hash(before))


def _fault(record: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    if _hash({key: value for key, value in record.items() if key != "hash"}) != record["hash"]:
        return "the record was changed"
    if before is None:  # older files may have been removed by rotation
        return "" if record["seq"] != 1 or record["previous"] == FIRST else "the first record names one before it"
    if record["previous"] != before["hash"] or record["seq"] != before["seq"] + 1:
        return "records before this one were changed, removed or put in"
    return ""


def _last_hash(record: Mapping[str, Any] | None) -> str:
    return FIRST if record is None else str(record["hash"])


def files(path: Path) -> list[Path]:
    """The files of a log, oldest first."""
    numbered = [
        (int(older.suffix[1:]), older) for older in path.parent.glob(f"{path.name}.*") if older.suffix[1:].isdecimal()
    ]
    return [older for _, older in sorted(numbered)] + ([path] if path.exists() else [])


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(line)
        if isinstance(record, dict) and isinstance(record.get("seq"), int) and {"hash", "previous"} <= record.keys():
            return record
    return None


def _line(content: Mapping[str, object]) -> bytes:
    text = _compact(content)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    return text.encode() + b"\n"


def _compact(content: Mapping[str, object]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _hash(content: Mapping[str, object]) -> str:
    return _digest(_compact(content).encode(errors="surrogatepass"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
