"""Every command in the documents runs as it stands there and prints what stands there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.fakes.documents import DOCS, Fence, commands, fences, missing_lines
from tests.fakes.mosquitto import free_port

DEADLINE_S = 100
PORTS = ("5020", "1883", "8080")
NOT_RUN = {"install.md": 16}  # documents with commands that are not run, and how many
DOCUMENTS = sorted(path.name for path in DOCS.glob("*.md"))


class Desk:
    """A folder and a shell in which a document is followed; its ports are replaced by free ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STATE_DIRECTORY": str(folder / "state"),
            "PYTHONPATH": str(DOCS.parent),
        }

    def local(self, text: str) -> str:
        """The text with the ports in use here."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: self.ports[match[1]], text)

    def write(self, name: str, fence: Fence) -> None:
        """Save a fence as a file."""
        (self.folder / name).write_text(self.local(fence.body), encoding="utf-8")

    def run(self, fence: Fence) -> None:
        """Run the commands of a fence and compare what they print."""
        code = int(fence.marked("exit") or 0)
        for command in commands(fence):
            done = subprocess.run(
                ["sh", "-c", self.local(command.line)],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            assert done.returncode == code, f"{command.line}\n{done.stdout}"
            assert missing_lines(command.output, done.stdout) == [], f"{command.line}\n{done.stdout}"

    @contextmanager
    def background(self, fence: Fence, port: str) -> Iterator[None]:
        """Run one command until the block ends; it has begun once its port listens."""
        (command,) = commands(fence)
        with (self.folder / f"{port}.log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {self.local(command.line)}"],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                _wait_for(process, self.ports[port], self.folder / f"{port}.log")
                assert process.poll() is None, (self.folder / f"{port}.log").read_text()
                yield
                assert process.poll() is None, (self.folder / f"{port}.log").read_text()
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(DEADLINE_S)


def _wait_for(process: subprocess.Popen[bytes], port: str, log: Path) -> None:
    """Return once the port listens or the process has ended."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and not _listens(port):
        assert time.monotonic() < deadline, f"nothing listens on {port}:\n{log.read_text()}"
        time.sleep(0.05)


def _listens(port: str) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_runs_and_prints_what_stands_there(document: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    absent: list[str] = []
    with ExitStack() as running:
        for fence in fences(DOCS / document):
            if (name := fence.marked("file")) is not None:
                desk.write(name, fence)
            elif (port := fence.marked("background until")) is not None:
                running.enter_context(desk.background(fence, port))
            elif (program := fence.marked("needs")) is not None and shutil.which(program) is None:
                absent.append(program)
            elif fence.marked("not run") is None:
                desk.run(fence)
    if absent:
        pytest.skip(f"all but the examples for {', '.join(absent)} ran: not installed")


def test_what_is_not_run_is_counted() -> None:
    found = {
        name: sum(len(commands(fence)) for fence in fences(DOCS / name) if fence.marked("not run") is not None)
        for name in DOCUMENTS
    }
    assert {name: count for name, count in found.items() if count} == NOT_RUN


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_gateway_command_stands_where_it_is_run(document: str) -> None:
    loose = [
        line
        for fence in fences(DOCS / document)
        if fence.kind not in {"sh", "console"}
        for line in fence.body.splitlines()
        if line.startswith(("gateway ", "$ gateway "))
    ]
    assert loose == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (DOCS / document).read_text(encoding="utf-8"))
    assert [target for target in targets if not (DOCS / target).exists()] == []


def test_an_output_that_differs_is_noticed() -> None:
    assert missing_lines(["a 1 ...", "b  2.5"], "x\na 77 and more\nb 3\n") == []
    assert missing_lines(["a 1"], "a one") == ["a 1"]
    assert missing_lines(["b", "a"], "a\nb") == ["a"]
