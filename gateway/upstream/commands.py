"""Writes that come from outside: checked, done in order, read back, answered and recorded.

    request -> known id? -> expired? -> rate -> allowed? -> audit -> write + read-back -> answer -> audit, event

Nothing is written that the audit log didn't take first. An id is remembered before its writes start, so that a crash
in the middle can't lead to a second execution.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import WriteError
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.upstream.identity import compact
from gateway.upstream.requests import BadRequestError, Request, Value, Write, allowed, parse, recorded, same, shown
from gateway.upstream.turns import Turns

log = logging.getLogger(__name__)

REMEMBER_NS: Final = 86_400 * 1_000_000_000
WRITE_TIMEOUT_S: Final = 30.0  # a driver answers earlier; this bounds one that doesn't
RATE_PER_S: Final = 10.0
BURST: Final = 20.0

WriteCallback = Callable[[int, Value], Awaitable[Value]]  # tag index, engineering value -> value read back
Result = dict[str, object]


class Commands(Protocol):
    """Carries out requests."""

    async def answer(self, request: bytes, source: str) -> bytes:
        """The answer to a request, both JSON as on the wire; never raises for what the request holds."""

    async def refuse(self, request: object, source: str, why: str) -> None:
        """Record a request that is not looked into, `request` as JSON can hold it."""

    async def dropped(self, count: int, source: str) -> None:
        """So many requests came faster than they could be carried out, and were not kept."""


class Memory(Protocol):
    """Answers that outlive a restart. Both may wait for the disk; neither raises for a failing one."""

    async def recall(self, key: str) -> bytes | None:
        """What was remembered under the key and has not run out."""

    async def remember(self, key: str, value: bytes, until_ns: int) -> None:
        """Keep the value until a UTC time; on disk when it returns, where there is a disk."""


class Audit(Protocol):
    """Where every request is recorded."""

    async def record(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        """Append one record, on disk when it returns; its hash. OSError where it can't be."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    empty: bool = False  # it ran dry and isn't half full again


class Executor:
    """The one place that writes to devices on outside orders; requests to one device go one after the other."""

    def __init__(
        self,
        table: TagTable,
        write: WriteCallback,
        clock: Clock,
        memory: Memory,
        audit: Audit,
        note: Callable[[Mapping[str, object]], None],
    ) -> None:
        self._table = table
        self._write = write
        self._clock = clock
        self._memory = memory
        self._audit = audit
        self._note = note  # takes `{"event":"write",...}`, to which the caller adds gateway, boot, seq and time
        self._turns = Turns()
        self._rates: dict[str, _Bucket] = {}

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table."""
        self._table = table

    async def answer(self, request: bytes, source: str) -> bytes:
        """See Commands."""
        try:
            wanted = parse(request)
        except BadRequestError as error:
            body = {"source": source, "error": str(error), "request": request[:1000].decode(errors="replace")}
            await self._record("bad_request", body)
            return compact({"id": error.id, "results": [{"status": "bad_request"}]})
        key = f"command/{wanted.id}"
        async with self._turns.of([key, *self._devices(wanted)]):
            known = await self._memory.recall(key)
            if known is not None:
                await self._record("repeated", {"source": source, "id": wanted.id})
                return known
            return await self._fresh(wanted, key, source)

    async def refuse(self, request: object, source: str, why: str) -> None:
        """See Commands."""
        log.warning("%s: refused: %s", source, why)
        await self._record("refused", {"source": source, "error": why, "request": request})

    def _devices(self, wanted: Request) -> set[str]:
        found = [self._table.find(write.tag) for write in wanted.writes]
        return {self._table[index].device for index in found if index is not None}

    async def dropped(self, count: int, source: str) -> None:
        """See Commands."""
        log.warning("%s: %d commands came too fast: dropped", source, count)
        await self._record("dropped", {"source": source, "count": count})

    async def _fresh(self, wanted: Request, key: str, source: str) -> bytes:
        until_ns = self._clock.now_ns() + REMEMBER_NS
        intent = await self._record("request", _described(wanted, source))
        if self._expired(wanted):
            results = _all(wanted, "expired")
        elif not intent:
            results = _all(wanted, "failed")
        else:
            # If this process dies now, a repeat is told `failed` instead of being carried out a second time.
            await self._memory.remember(key, _answer(wanted, _all(wanted, "failed")), until_ns)
            results = await self._carry_out(wanted, source)
        answer = _answer(wanted, results)
        await self._memory.remember(key, answer, until_ns)
        await self._close(wanted, source, results)
        return answer

    def _expired(self, wanted: Request) -> bool:
        if wanted.expires_ms is None:
            return False
        return not self._clock.stamp.synchronised or self._clock.now_ns() / 1e6 > wanted.expires_ms

    async def _carry_out(self, wanted: Request, source: str) -> list[Result]:
        results: list[Result] = []
        try:
            for write in wanted.writes:
                results.append(await self._one(write))  # noqa: PERF401  # what was done is known when cancelled
        except asyncio.CancelledError:
            await self._record("interrupted", {"source": source, "id": wanted.id, "results": results})
            raise
        return results

    async def _one(self, write: Write) -> Result:
        result: Result = {"tag": write.tag}
        try:
            index, value = allowed(self._table, write)
            self._take_token(write.tag)
        except WriteError as error:
            return {**result, "status": error.status}
        tag = self._table[index]
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                readback = await self._write(index, value)
        except WriteError as error:
            log.warning("write to %s: %s", write.tag, error)
            found = {} if error.readback is None else {"readback": shown(tag, error.readback)}
            return {**result, "status": error.status, **found}
        except TimeoutError:
            return {**result, "status": "timeout"}
        status = "ok" if same(tag, value, readback) else "mismatch"
        return {**result, "status": status, "readback": shown(tag, readback)}

    def _take_token(self, tag: str) -> None:
        """WriteError where the tag is written too often; said once for each time it comes to that."""
        now = asyncio.get_running_loop().time()
        bucket = self._rates.setdefault(tag, _Bucket(BURST, now))
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * RATE_PER_S)
        bucket.at = now
        if bucket.tokens < 1.0:
            if not bucket.empty:
                log.warning("writes to %s are refused: more than %g a second", tag, RATE_PER_S)
            bucket.empty = True
            raise WriteError("denied")
        bucket.tokens -= 1.0
        bucket.empty = bucket.empty and bucket.tokens < BURST / 2

    async def _close(self, wanted: Request, source: str, results: list[Result]) -> None:
        sealed = await self._record("result", {"source": source, "id": wanted.id, "results": results})
        for write, result in zip(wanted.writes, results, strict=True):
            self._note(
                {
                    "event": "write",
                    "source": source,
                    "id": wanted.id,
                    "tag": write.tag,
                    "value": recorded(write.value),
                    "status": result["status"],
                    "audit": sealed,
                }
            )

    async def _record(self, kind: str, body: Mapping[str, object]) -> str:
        """The record's hash, empty where the log can't be written."""
        try:
            return await self._audit.record(self._clock.now_ns() // 1_000_000, kind, body)
        except OSError as error:
            log.error("the audit log can't be written, no write is carried out: %s", error)  # noqa: TRY400  # no bug
            return ""


def _described(wanted: Request, source: str) -> dict[str, object]:
    writes = [{"tag": write.tag, "value": recorded(write.value)} for write in wanted.writes]
    return {"source": source, "id": wanted.id, "expires": wanted.expires_ms, "writes": writes}


def _all(wanted: Request, status: str) -> list[Result]:
    return [{"tag": write.tag, "status": status} for write in wanted.writes]


def _answer(wanted: Request, results: list[Result]) -> bytes:
    return compact({"id": wanted.id, "results": results})
