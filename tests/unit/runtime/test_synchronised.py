from __future__ import annotations

import logging
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.runtime.synchronised import RELEASED_S, Synchronised, ask_timedated


def answering(answer: bool | None) -> Callable[[], Awaitable[bool | None]]:
    async def ask() -> bool | None:
        return answer

    return ask


async def test_timesyncds_mark_is_enough(tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    clock = Synchronised(answering(False), tmp_path / "synchronized")
    await clock.refresh()
    assert clock()
    assert clock.source == "timesyncd"


@pytest.mark.parametrize("answer", [True, False])
async def test_timedated_is_asked_otherwise(tmp_path: Path, answer: bool) -> None:
    clock = Synchronised(answering(answer), tmp_path / "synchronized")
    await clock.refresh()
    assert clock() is answer
    assert clock.source == "timedated"


async def test_the_mark_is_seen_between_two_questions(tmp_path: Path) -> None:
    clock = Synchronised(answering(False), tmp_path / "synchronized")
    await clock.refresh()
    assert not clock()
    (tmp_path / "synchronized").touch()
    assert clock()


@pytest.mark.parametrize(("wall_s", "right"), [(RELEASED_S + 1, True), (RELEASED_S - 1, False), (0, False)])
async def test_nobody_to_ask(tmp_path: Path, wall_s: float, right: bool, caplog: pytest.LogCaptureFixture) -> None:
    clock = Synchronised(answering(None), tmp_path / "synchronized", lambda: wall_s)
    with caplog.at_level(logging.INFO):
        await clock.refresh()
        await clock.refresh()
    assert clock() is right
    assert clock.source == "assumed"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("script", "answer"), [("echo yes", True), ("echo no", False), ("exit 1", None)])
async def test_the_real_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, answer: bool | None
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f'#!/bin/sh\n[ "$1" = show ] || exit 2\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await ask_timedated() is answer


async def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await ask_timedated() is None


def test_the_release_is_in_the_past() -> None:
    assert time.time() > RELEASED_S
