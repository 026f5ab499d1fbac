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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.__main__ import app
from tests.fakes.documents import DOCS, ROOT, Fence, commands, fences, missing_lines
from tests.fakes.mosquitto import free_port

DEADLINE_S = 100
PORTS = ("5020", "1883", "4840", "8080")
DOCUMENTS = sorted(path.name for path in DOCS.glob("*.md"))
EVERY = sorted(
    path.relative_to(ROOT).as_posix()
    for part in ("*.md", "docs/**/*.md", "deploy/**/*.md", "config/**/*.md")
    for path in ROOT.glob(part)
)
# Documents with commands that are not run, and how many.
NOT_RUN = {"README.md": 2, "deploy/ansible/README.md": 5, "docs/install.md": 19}
# What stands for the PLC and the broker of the README's example, and where its page listens.
STAND_INS = {
    "modbus-tcp 192.168.10.5": "modbus-tcp 127.0.0.1 --port 5020 --units 1 --registers 0-149",
    "host: 192.168.10.5\n": "host: 127.0.0.1\n    port: 5020\n",
    "broker: mqtts://broker.plant.local:8883\n": "broker: mqtt://127.0.0.1:1883\n",
    "{file: /etc/gateway/secrets/mqtt}": "{env: SECRET}",
    "gateway:\n": "status: {listen: 127.0.0.1:8080}\ngateway:\n",
}


class Desk:
    """A folder and a shell in which a document is followed; its ports are replaced by free ones."""

    def __init__(self, folder: Path, stand_ins: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._stand_ins = stand_ins or {}
        self.ports = {port: str(free_port()) for port in PORTS}
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STATE_DIRECTORY": str(folder / "state"),
            "PYTHONPATH": str(ROOT),
            "SECRET": "a secret",
        }

    def local(self, text: str) -> str:
        """The text with the stand-ins and the ports in use here."""
        for written, meant in self._stand_ins.items():
            text = text.replace(written, meant)
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


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients")
@pytest.mark.timeout(240)
def test_the_readmes_example_runs_with_a_simulated_plc_and_a_broker(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    assert [text for text in STAND_INS if text not in "".join(fence.body for fence in fences(readme))] == []
    desk = Desk(tmp_path, STAND_INS)
    for fence in fences(readme):
        if (name := fence.marked("file")) is not None:
            desk.write(name, fence)
    with ExitStack() as running:
        running.enter_context(desk.background(Fence("sh", "", "gateway simulate gateway.yaml\n"), "5020"))
        running.enter_context(desk.background(Fence("sh", "", "mosquitto -p 1883\n"), "1883"))
        ran = 0
        for fence in fences(readme):
            if (port := fence.marked("background until")) is not None:
                running.enter_context(desk.background(fence, port))
            elif fence.marked("not run") is None:
                desk.run(fence)
                ran += len(commands(fence))
        assert ran == 4
        line = "mosquitto_sub -p 1883 -t press-hall/press/data -C 1 -W 20"
        desk.run(Fence("console", "", f'$ {line}\n{{"gateway":"press-hall","device":"press",...\n'))


def test_the_readmes_table_names_every_command() -> None:
    named = set(re.findall(r"^\| `gateway ([\w-]+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    named |= {"write", "acknowledge", "trace"}  # they share a row with reload
    assert named == set(get_command(app).commands)  # type: ignore[attr-defined]  # a group of commands


def test_what_is_not_run_is_counted() -> None:
    found = {
        name: sum(len(commands(fence)) for fence in fences(ROOT / name) if fence.marked("not run") is not None)
        for name in EVERY
    }
    assert {name: count for name, count in found.items() if count} == NOT_RUN


@pytest.mark.parametrize("document", EVERY)
def test_every_command_stands_where_it_is_run(document: str) -> None:
    """A fence of commands is `sh` or `console`, in a document that is followed, or it is counted as not run."""
    followed = document == "README.md" or (document.startswith("docs/") and document.count("/") == 1)
    loose = [
        line
        for fence in fences(ROOT / document)
        for line in fence.body.splitlines()
        if re.match(r"(\$ )?(sudo |deploy/)?(gateway|make|mosquitto\w*|systemctl|ansible\S*|apt|python3?) ", line)
        if fence.kind not in {"sh", "console"} or not (followed or fence.marked("not run") is not None)
    ]
    assert loose == []


@pytest.mark.parametrize("document", EVERY)
def test_every_link_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#([^)]*))?\)", text)
    targets += [("", heading) for heading in re.findall(r"\]\(#([^)]+)\)", text)]
    broken = [
        f"{target}#{heading}"
        for target, heading in targets
        if not (there := (ROOT / document).parent / target if target else ROOT / document).exists()
        or (heading and heading not in headings(there))
    ]
    assert broken == []


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_an_output_that_differs_is_noticed() -> None:
    assert missing_lines(["a 1 ...", "b  2.5"], "x\na 77 and more\nb 3\n") == []
    assert missing_lines(["a 1"], "a one") == ["a 1"]
    assert missing_lines(["b", "a"], "a\nb") == ["a"]
