"""A Debian of each kind with a gateway to install. bookworm runs with `make test`, trixie with `make endure`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.fakes.installed import CONFIG, PASSWORD, Cell
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.nspawn import Machine, missing
from tests.fakes.wheelhouse import TREE, wheelhouse


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "releases(*versions): what the test installs, the newest last")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a test on a machine fails, its report has the machine's journal."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.when == "call" and report.failed and machine is not None:
        journal = machine.run("journalctl", "--no-pager", "-o", "short-precise", "-n", "80", check=False)
        report.sections.append(("the machine's journal", journal))
    return report


@pytest.fixture(params=["bookworm", pytest.param("trixie", marks=pytest.mark.endure)])
def suite(request: pytest.FixtureRequest) -> str:
    """A Debian that can be started here; without the right or the programs for it the test is skipped aloud."""
    name: str = request.param
    lacking = missing(name)
    if lacking and os.environ.get("GATEWAY_REQUIRE_SYSTEMD"):
        pytest.fail(f"a real systemd is required here: {lacking}")
    if lacking:
        pytest.skip(f"THE INSTALLATION WAS NOT TESTED: {lacking}")
    return name


@pytest.fixture
def versions(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The releases a test installs: those of its mark `releases`, else 9.0.0."""
    mark = request.node.get_closest_marker("releases")
    return mark.args if mark else ("9.0.0",)


@pytest.fixture
def machine(tmp_path: Path, suite: str, versions: tuple[str, ...]) -> Iterator[Machine]:
    with Machine(tmp_path / "system", wheelhouse(suite, versions), suite) as machine:
        yield machine


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", PASSWORD], check=True)
    lines = [f"password_file {passwords}", "persistence false"]
    with Mosquitto(tmp_path, lines, anonymous=False) as broker:
        yield broker


@pytest.fixture
def plc(tmp_path: Path) -> Iterator[int]:
    """The port of a simulated PLC."""
    port = free_port()
    file = tmp_path / "plc.yaml"
    file.write_text(CONFIG.format(plc=port, broker=1883, page=0).replace("mqtt://127.0.0.1:1883", "mqtt://localhost"))
    simulator = subprocess.Popen(
        [sys.executable, "-m", "gateway", "simulate", str(file)], stdout=subprocess.DEVNULL, cwd=TREE
    )
    yield port
    simulator.terminate()
    simulator.wait(timeout=30)


@pytest.fixture
def cell(machine: Machine, plc: int, broker: Mosquitto) -> Cell:
    """The machine with its PLC and broker."""
    return Cell(machine, plc, broker)
