"""What happens becomes audit records: in order, bounded, and without anybody waiting for the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.app import records as module
from gateway.app.records import WAITING, Records
from gateway.runtime.audit import AuditLog, verify
from tests.fakes.upstream.commanding import NOW_NS, FakeClock
from tests.fakes.waiting import until

Record = tuple[int, str, Mapping[str, Any]]
LOSS = {"event": "loss", "time": 7, "reason": "spool_full", "tags": ["a.b"], "from": 1, "to": 2, "count": 5}


class Log(AuditLog):
    """Remembers records; refuses them while `error` is set, and takes none while `gate` is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.taken: list[Record] = []
        self.error = ""
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def record(self, time_ms: int, kind: str, body: Mapping[str, object]) -> str:
        self.asked += 1
        await self.gate.wait()
        if self.error:
            raise OSError(self.error)
        self.taken.append((time_ms, kind, body))
        return "hash"

    @property
    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.taken]


@contextlib.asynccontextmanager
async def keeping(records: Records) -> AsyncIterator[None]:
    """As the daemon keeps them: the task ends first, what is told then is still written."""
    async with records:
        writer = asyncio.create_task(records.run())
        try:
            yield
        finally:
            writer.cancel()
            await asyncio.wait([writer])


@pytest.fixture
async def audit(tmp_path: Path) -> Log:
    return Log(tmp_path / "audit.log")


async def test_in_order_with_a_stop_at_the_end(audit: Log) -> None:
    records = Records(audit, FakeClock())
    async with keeping(records):
        records.note("start", version="1.0")
        records.note("reload", source="SIGHUP")
    assert audit.taken == [
        (NOW_NS // 1_000_000, "start", {"version": "1.0"}),
        (NOW_NS // 1_000_000, "reload", {"source": "SIGHUP"}),
        (NOW_NS // 1_000_000, "stop", {}),
    ]


async def test_an_error_that_ends_the_daemon_is_no_stop(audit: Log) -> None:
    records = Records(audit, FakeClock())

    async def live() -> None:
        async with keeping(records):
            records.note("start")
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await live()
    assert audit.kinds == ["start"]


async def test_events_an_auditor_asks_for(audit: Log) -> None:
    records = Records(audit, FakeClock())
    alarm = {"event": "alarm", "time": 8, "tag": "a.b", "change": "acknowledged", "user": "control socket (uid 0)"}
    async with keeping(records):
        records.event(LOSS)
        records.event({"event": "clock_step", "time": 9, "step": 3600, "synchronised": True, "seq": 1})
        records.event(alarm)
        records.event({**alarm, "change": "raised"})
        records.event({"event": "write", "time": 10})
    assert [record for record in audit.taken if record[1] != "stop"] == [
        (7, "loss", {"reason": "spool_full", "from": 1, "to": 2, "count": 5, "tags": ["a.b"]}),
        (9, "clock_step", {"step": 3600, "synchronised": True}),
        (8, "acknowledge", {"source": "control socket (uid 0)", "tag": "a.b"}),
    ]


async def test_a_flood_of_wrong_tokens_makes_two_records(audit: Log) -> None:
    records = Records(audit, FakeClock())
    async with keeping(records):
        for number in range(10_000):
            records.refused_login(f"10.0.{number // 256}.{number % 256}")
    assert audit.kinds == ["login", "login", "stop"]
    first, rest = (body for _, kind, body in audit.taken if kind == "login")
    assert first["addresses"] == ["10.0.0.0"]
    assert first["count"] + rest["count"] == 10_000
    assert len(rest["addresses"]) == 21


async def test_healthy_means_quiet(audit: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float | None] = []
    real = asyncio.timeout_at

    def noted(when: float | None) -> asyncio.Timeout:
        deadlines.append(when)
        return real(when)

    monkeypatch.setattr(asyncio, "timeout_at", noted)
    records = Records(audit, FakeClock())
    async with keeping(records):
        records.note("start")
        await until(lambda: len(deadlines) == 2)
        await asyncio.sleep(0.1)
        assert deadlines == [None, None]  # asleep until something happens
        assert audit.asked == 1


async def test_a_log_that_cannot_be_written_keeps_nobody_and_is_bounded(
    audit: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    audit.error = "No space left on device"
    records = Records(audit, FakeClock())
    with caplog.at_level("INFO"):
        async with keeping(records):
            for number in range(WAITING + 50):
                records.note("trace", number=number)
            await until(lambda: audit.asked > 3)
            audit.error = ""
            await until(lambda: len(audit.taken) == WAITING + 1)
    assert audit.kinds == ["trace"] * WAITING + ["omitted", "stop"]
    assert audit.taken[-2][2] == {"count": 50}
    assert [line.message for line in caplog.records] == [
        "the audit log can't be written: No space left on device",
        "the audit log can be written again",
    ]


async def test_a_disk_that_hangs_does_not_hold_up_the_stop(
    audit: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.05)
    audit.gate.clear()
    records = Records(audit, FakeClock())
    async with asyncio.timeout(5), keeping(records):
        records.note("start")
        await until(lambda: audit.asked == 1)
        records.note("reload")
    assert "records that the audit log lacks: 1" in caplog.text


async def test_a_storm_on_a_real_log_is_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = AuditLog(path)
    records = Records(audit, FakeClock())
    async with keeping(records):
        records.note("start")
        for number in range(2000):
            records.event({**LOSS, "tags": [f"a.{number}\n\u2028"]})
            if number % 500 == 0:
                await audit.record(1, "request", {"id": f"a{number}"})
    assert (verify(path).fault, verify(path).records) == ("", 8)


async def test_a_log_that_can_never_be_written_ends_in_time(tmp_path: Path) -> None:
    records = Records(AuditLog(tmp_path / "absent" / "audit.log"), FakeClock())
    async with asyncio.timeout(5), keeping(records):
        records.note("start")
    assert not (tmp_path / "absent").exists()
