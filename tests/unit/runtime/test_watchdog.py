from __future__ import annotations

import pytest

from gateway.runtime.systemd import Notifier
from gateway.runtime.watchdog import Watchdog


class Bench:
    """A watchdog with its own time, its messages, and one counter to move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.progress = 0
        self.sent: list[str] = []
        self.watchdog = Watchdog(Notifier(self.sent.append, 30.0), lambda: self.now)
        self.watchdog.watch("bus", lambda: self.progress, 20.0)

    def feed(self, at: float) -> bool:
        self.now = at
        self.sent.clear()
        self.watchdog.feed()
        return self.sent == ["WATCHDOG=1"]


def test_fed_while_everything_moves() -> None:
    bench = Bench()
    for at in range(0, 200, 10):
        bench.progress += 1
        assert bench.feed(at)


def test_silence_within_the_legal_time_is_fine() -> None:
    bench = Bench()
    assert bench.feed(10)
    assert bench.feed(20)
    assert not bench.feed(20.1)


def test_fed_again_once_it_moves(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    assert not bench.feed(50)
    assert not bench.feed(60)
    assert [record.getMessage() for record in caplog.records] == [
        "bus makes no progress: the watchdog is no longer fed"
    ]
    bench.progress += 1
    assert bench.feed(70)
    assert bench.feed(90)
    assert not bench.feed(91)


def test_one_stalled_task_among_moving_ones_is_enough() -> None:
    bench = Bench()
    moving = 0
    bench.watchdog.watch("upstream", lambda: moving, 20.0)
    for at in (0, 10, 20, 30):
        moving += 1
        assert bench.feed(at) == (at <= 20)
    assert bench.watchdog.stalled() == {"bus"}


def test_a_task_that_ended_on_purpose_is_forgotten() -> None:
    bench = Bench()
    bench.watchdog.forget("bus")
    assert bench.feed(1000)


async def test_without_a_watchdog_run_returns() -> None:
    await Watchdog(Notifier(None, None)).run()
