"""SIGKILL at random moments while the brokers come and go; fifty of them in `make endure`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.kills import killed_at_random


@pytest.mark.timeout(180)
async def test_every_reading_is_delivered_or_lost_in_the_window_of_a_kill(tmp_path: Path) -> None:
    accounts = await killed_at_random(tmp_path, 4, seed=3)
    print(accounts.check())
    assert len(accounts.kills) >= 2
