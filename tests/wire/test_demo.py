"""The demo as a user starts it: a process of its own, the real daemon below it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gateway.tools.demo import MARK
from gateway.tools.simulation.ports import alone

PATIENCE_S = 150.0  # a cold start compiles every kernel first
pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@contextmanager
def demo(folder: Path, seconds: float | None = None, outage: float | None = None) -> Iterator[subprocess.Popen[str]]:
    """The demo with its temporary files in `folder`."""
    code = f"import sys; from gateway.tools.demo import demo; sys.exit(demo({seconds}, {outage}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE_S)


def daemons(folder: Path) -> list[int]:
    """Processes that run a configuration below `folder`."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def number(text: str, pattern: str) -> int:
    """The last number of a pattern in the output."""
    return int(re.findall(pattern, text)[-1].replace(",", ""))


def test_it_shows_readings_arriving_and_ends_by_itself(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(alone(MARK))  # as a demo that started a moment ago and has not bound its ports yet
        with suppress(OSError):  # taken by somebody else: as good
            stack.enter_context(socket.create_server(("127.0.0.1", 1883)))
        process = stack.enter_context(demo(tmp_path, 4))
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out
    assert re.search(r"^broker: mqtt://127\.0\.0\.1:\d+$", out, re.MULTILINE), out
    assert not re.search(r"127\.0\.0\.1:(1883|5020|4840|8080)\b", out), out
    assert re.search(r"^status page: http://127\.0\.0\.1:\d+$", out, re.MULTILINE), out
    arrived = number(out, r"arrived ([\d,]+) readings")
    polled, kept = number(out, r"polled ([\d,]+)"), number(out, r"kept ([\d,]+)")
    assert arrived > 0
    assert 0 < kept < polled
    assert not daemons(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_outage_grows_the_backlog_and_drains_it(tmp_path: Path) -> None:
    with demo(tmp_path, 10, 3) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out
    backlog = [int(text.replace(",", "")) for text in re.findall(r"backlog ([\d,]+)", out)]
    drained = number(out, r"drained a backlog of ([\d,]+) readings")
    assert drained >= max(backlog) // 2 > 0
    assert backlog[-1] < drained, out


def test_ctrl_c_cleans_up(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + PATIENCE_S
        while not daemons(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert daemons(tmp_path)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert not daemons(tmp_path)
    assert not list(tmp_path.iterdir())


def test_being_told_to_stop_cleans_up(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not daemons(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, out
    assert not daemons(tmp_path)
