"""The service manager is fed only while the spool and every upstream turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import LinkError
from gateway.runtime.systemd import Notifier
from gateway.runtime.watchdog import Watchdog
from gateway.spool import spool as spool_module
from gateway.spool.spool import Spool
from gateway.upstream import upstream as upstream_module
from gateway.upstream.session import Session
from tests.fakes.spool import make, readings, turns
from tests.fakes.upstream.delivery import FakeDelivery
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until


class Manager:
    """A watchdog with its own time; `fed` asks once, a while later."""

    def __init__(self, silence_s: float) -> None:
        self.now = 0.0
        self.silence_s = silence_s
        self.sent: list[str] = []
        self.watchdog = Watchdog(Notifier(self.sent.append, 30.0), lambda: self.now)

    def fed(self, share: float = 0.6) -> bool:
        """Whether it is fed after another share of the legal silence."""
        self.now += share * self.silence_s
        self.sent.clear()
        self.watchdog.feed()
        return self.sent == ["WATCHDOG=1"]


@asynccontextmanager
async def running_spool(folder: Path) -> AsyncIterator[tuple[Spool, asyncio.Task[None]]]:
    async with make(folder / "spool.db") as spool:
        task = asyncio.create_task(spool.run())
        await turns(spool)
        yield spool, task
        task.cancel()
        await asyncio.wait([task])


async def test_an_idle_spool_is_no_stalled_one(tmp_path: Path) -> None:
    manager = Manager(spool_module.SILENT_S)
    async with running_spool(tmp_path) as (spool, task):
        manager.watchdog.watch("spool", spool.sign_of_life, manager.silence_s)
        for _ in range(6):
            await turns(spool)
            assert manager.fed()
        task.cancel()
        await asyncio.wait([task])
        assert [manager.fed() for _ in range(4)] == [True, True, False, False]
        assert manager.watchdog.stalled() == {"spool"}


async def test_a_spool_that_no_longer_seals_is_stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(spool_module.SILENT_S)
    monkeypatch.setattr(spool_module, "_SEAL_LATE_S", -10.0)  # what is open is late at once
    async with running_spool(tmp_path) as (spool, _):
        manager.watchdog.watch("spool", spool.sign_of_life, manager.silence_s)
        spool.append(readings([1.0]))
        assert [manager.fed() for _ in range(3)] == [True, False, False]


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def test_an_upstream_in_backoff_makes_progress_and_a_hung_one_none(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(upstream_module.SILENT_S)

    async def refuse(*_: object) -> None:
        raise LinkError("nobody there")

    monkeypatch.setattr(Session, "open", refuse)
    async with running("mqtt://127.0.0.1:1", FakeDelivery()) as up:
        manager.watchdog.watch("upstream plant", lambda: up.upstream.progress, manager.silence_s)
        for _ in range(4):
            before = up.upstream.progress
            await until(lambda before=before: up.upstream.progress > before)  # type: ignore[misc]  # bound now
            assert manager.fed()
        monkeypatch.setattr(Session, "open", hang)
        await asyncio.sleep(0.5)  # the longest backoff of this upstream is 0.2 s
        assert [manager.fed() for _ in range(4)] == [True, True, False, False]
        assert manager.watchdog.stalled() == {"upstream plant"}


async def test_an_upstream_with_nothing_to_send_makes_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(upstream_module.SILENT_S)

    async def accept(session: Session, _connecting: object) -> None:
        session._accepted = True
        session._tick()

    monkeypatch.setattr(Session, "open", accept)
    async with running("mqtt://127.0.0.1:1", FakeDelivery(), patience=0.1) as up:
        manager.watchdog.watch("upstream plant", lambda: up.upstream.progress, manager.silence_s)
        for _ in range(2):
            before = up.upstream.progress
            await until(lambda before=before: up.upstream.progress > before)  # type: ignore[misc]  # bound now
            assert manager.fed()
