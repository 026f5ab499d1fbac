"""Healthy means quiet: the whole daemon's writes; a minute of it in `make endure`."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.quiet import written_in


async def test_a_daemon_whose_broker_is_there_writes_nothing(tmp_path: Path) -> None:
    stored, called, in_an_outage = await written_in(tmp_path, 4.0)
    print(stored, called, in_an_outage)
    assert stored <= 4096  # a page of the log at most
    assert called <= 4096
    assert in_an_outage > 32 << 10  # the same count sees what is written
