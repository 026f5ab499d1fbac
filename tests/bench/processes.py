"""What the kernel knows about a process: CPU time, wake-ups, memory; and helper processes that answer lines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """One look at a process."""

    at: float  # monotonic seconds
    cpu_s: float  # time on a CPU by the scheduler's own clock, all living threads
    wakeups: int  # voluntary context switches, all threads
    rss_mb: float
    peak_mb: float


def usage(pid: int) -> Usage:
    """The process's account now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    wakeups = busy_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        busy_ns += int((task / "schedstat").read_text().split()[0])
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                wakeups += int(line.split()[1])
    return Usage(
        time.monotonic(),
        busy_ns / 1e9,
        wakeups,
        int(status["VmRSS"].split()[0]) / 1024,
        int(status["VmHWM"].split()[0]) / 1024,
    )


@contextmanager
def helper(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A helper script that serves until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.communicate(timeout=20)


def said(process: subprocess.Popen[str]) -> str:
    """The helper's next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def asked(process: subprocess.Popen[str], line: str = "") -> str:
    """The helper's answer to a line."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return said(process)


class Daemon:
    """`gateway run` with a notify socket; `ready_s` is the time from its start to READY=1."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log = config.with_suffix(".log")
        self.ready_s = 0.0

    def __enter__(self) -> Daemon:
        name = str(self._config.with_suffix(".sock"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(name)
            notify.settimeout(180.0)
            began = time.monotonic()
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "gateway", "run", str(self._config)],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": name},
                )
            while b"READY=1" not in notify.recv(4096):
                pass
            self.ready_s = time.monotonic() - began
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it logged."""
        return self._log.read_text()
