"""What a user gets wrong ends in a line on stderr and an exit code, whichever command it was."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.__main__ import app, main

Run = Callable[..., tuple[int, str, str]]
ON_A_CONFIGURATION = (
    "check FILE",
    "run FILE",
    "tags FILE",
    "probe FILE",
    "simulate FILE",
    "status FILE",
    "reload FILE",
    "write FILE press.setpoint 1",
    "acknowledge FILE press.setpoint",
    "trace press FILE",
    "spool status FILE",
    "spool export FILE",
)
ON_A_FILE = (*ON_A_CONFIGURATION, "audit verify FILE", "decode FILE")
VALID = """
gateway: {name: cell}
connections:
  plc: {driver: modbus-tcp, host: 127.0.0.1, devices: {press: {tags: {x: {address: holding:0, type: int16}}}}}
upstreams: {plant: {broker: mqtt://127.0.0.1}}
spool: {path: PATH}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command line in this process, with FILE replaced: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def line(text: str, file: Path | str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gateway", *(str(file) if word == "FILE" else word for word in text.split())])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        told = capfd.readouterr()
        return code, told.out, told.err

    return line


@pytest.mark.parametrize("command", ON_A_FILE)
def test_a_file_that_is_not_there(run: Run, command: str) -> None:
    assert run(command, "absent.yaml") == (66, "", "gateway: no such file: absent.yaml\n")


@pytest.mark.parametrize("command", ON_A_FILE)
def test_a_folder_for_a_file(run: Run, command: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert run(command, "folder") == (1, "", "gateway: folder: is a directory\n")


@pytest.mark.parametrize("command", ON_A_CONFIGURATION)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "wrong.yaml:1:1: file: this is no UTF-8 text: byte 0"),
        (b"", "wrong.yaml:1:1: file: the file is empty"),
        (b"a: [", "wrong.yaml:1:"),
        (b"[1, 2]", "wrong.yaml:1:1: file: expected keys and values"),
        (b"spool: 7", "wrong.yaml:1:1: gateway: this key is missing"),
        (b"gateway: {name: a b}", "wrong.yaml:1:17: gateway.name: 'a b' is no valid name"),
    ],
)
def test_a_file_that_is_no_configuration(run: Run, command: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_bytes(content)
    code, out, told = run(command, "wrong.yaml")
    assert (code, out) == (78, "")
    assert why in told
    assert all(line.startswith("wrong.yaml:") for line in told.splitlines())


@pytest.mark.parametrize("command", ["status FILE", "reload FILE", "write FILE press.x 1", "trace press FILE"])
def test_no_daemon_runs(run: Run, command: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(VALID.replace("PATH", str(tmp_path / "spool.db")))
    place = tmp_path / "control.sock"
    assert run(command, "gateway.yaml") == (1, "", f"gateway: no daemon runs here: nobody answers at {place}\n")


def test_a_broken_audit_log_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_text("garbage\nmore\n")
    assert run("audit verify audit.log") == (
        1,
        "",
        f"gateway: {Path('audit.log')}:1: no record (0 records before it are in order)\n",
    )


def test_every_command_explains_itself_with_an_example() -> None:
    def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        for word, below in (inner or {}).items():
            yield from leaves(below, f"{name} {word}")

    found = dict(leaves(get_command(app), "gateway"))
    assert len(found) >= 22
    for name, command in found.items():
        assert command.help, name
        assert f"Example: {name}" in command.epilog or f"| {name}" in command.epilog, name


def test_a_port_that_is_taken(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = VALID.replace("PATH", str(tmp_path / "spool.db")).replace(
            "127.0.0.1, dev", f"127.0.0.1, port: {port}, dev"
        )
        (tmp_path / "gateway.yaml").write_text(text)
        why = f"plc: can't listen at 127.0.0.1:{port}: address already in use; --remap uses loopback"
        assert run("simulate gateway.yaml") == (1, "", f"gateway: {why}\n")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("replay absent.yaml absent.csv --out nowhere/kept.csv", "--out: there is no folder nowhere"),
        ("replay absent.yaml absent.csv --plot nowhere/kept.png", "--plot: there is no folder nowhere"),
        ("simulate absent.yaml --out nowhere/used.yaml", "--out: there is no folder nowhere"),
        ("scan modbus-rtu /dev/null --parity odds", "expected even, none, odd as parity, not 'odds'"),
        ("scan modbus-tcp 127.0.0.1 --units x", "expected numbers such as 1-16,255, not 'x'"),
        ("browse http://127.0.0.1", "expected opc.tcp://host or opc.tcp://host:port"),
        ("decode --time-unit h", "expected ms, us or ns"),
    ],
)
def test_an_option_that_can_not_be_is_refused_before_the_work(run: Run, command: str, why: str) -> None:
    code, out, told = run(command)
    assert (code, out) == (2, "")
    assert why in told.replace("'--", "--").replace("':", ":")


def test_a_simulation_does_not_overwrite_the_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(VALID)
    code, _, told = run("simulate gateway.yaml --out ./gateway.yaml")
    assert (code, told) == (2, "gateway: gateway.yaml is the configuration itself: --out takes another file\n")
    assert (tmp_path / "gateway.yaml").read_text() == VALID


def test_what_is_no_serial_port(run: Run) -> None:
    code, _, told = run("scan modbus-rtu /dev/null --baudrate 9600 --parity even")
    assert (code, told.splitlines()[-1]) == (1, "gateway: /dev/null: this is no serial port")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_listens(run: Run, host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        why = "connection refused: nothing listens there\n"
        assert run(f"scan modbus-tcp {host} --port {port}") == (1, "", f"gateway: {host}:{port}: {why}")
        assert run(f"browse opc.tcp://{host}:{port}") == (1, "", f"gateway: opc.tcp://{host}:{port}: {why}")


@pytest.mark.parametrize(("command", "code"), [("tags gateway.yaml", 0), ("check absent.yaml", 66)])
def test_closed_streams_are_nobody_to_talk_to(command: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(VALID.replace("PATH", str(tmp_path / "spool.db")))
    line = f"exec {sys.executable} -m gateway {command} 2>&-"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for closed, words in (("", code == 0), (" >&-", False)):
        done = subprocess.run(
            ["sh", "-c", line + closed], stdout=subprocess.PIPE, check=False, cwd=tmp_path, env=environment
        )
        assert (done.returncode, bool(done.stdout)) == (code, words)
