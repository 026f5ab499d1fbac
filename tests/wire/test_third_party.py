"""A driver in another package, installed with pip, is found; one that is broken costs only itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.field.contract import Driver
from gateway.field.drivers import drivers
from tests.fakes.port import context_of, plan_of

ROOT = Path(__file__).parents[2]
RAMP = {"driver": "ramp", "devices": {"hill": {"tags": {"height": {"step": 2.5, "unit": "m"}}}}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package."""
    target = tmp_path_factory.mktemp("site")
    build = tmp_path_factory.mktemp("source") / "package"
    build.mkdir()
    for source in (ROOT / "tests/third_party_driver").rglob("*"):
        if source.suffix in {".py", ".toml"}:
            copy = build / source.relative_to(ROOT / "tests/third_party_driver")
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", str(target), str(build)], check=True)
    return target


async def test_an_installed_driver_is_found_and_its_readings_arrive(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(site))
    driver = drivers()["ramp"]
    connection = driver.connection.model_validate(RAMP)
    plan = plan_of(connection, 0.01)
    context, port = context_of(plan)
    task = asyncio.create_task(driver.open(plan, context).run())
    await port.wait(lambda: len(port.rows) >= 3)
    task.cancel()
    await asyncio.wait([task])
    assert port.values("hill.height")[:3] == [0.0, 2.5, 5.0]


def test_its_settings_are_checked_like_any_others(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    wrong = {**RAMP, "devices": {"hill": {"tags": {"height": {"step": -1, "steep": True}}}}}
    with pytest.raises(ValidationError) as errors:
        drivers()["ramp"].connection.model_validate(wrong)
    assert {error["loc"][-1] for error in errors.value.errors()} == {"step", "steep"}


def test_the_command_line_knows_it(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "gateway: {name: g}\n"
        "connections:\n  hills: {driver: ramp, devices: {hill: {every: 1s, tags: {height: {step: 2}}}}}\n"
        "upstreams:\n  plant: {broker: mqtt://127.0.0.1:1883}\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "gateway"]
    checked = subprocess.run(
        [*command, "check", str(file), "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    printed = subprocess.run([*command, "schema"], env=environment, capture_output=True, text=True, check=True)
    assert "RampConnection" in json.dumps(json.loads(printed.stdout))


@pytest.mark.parametrize(
    ("module", "entry", "reason"),
    [
        ("import nothing_of_this_name", "sick:DRIVER", "ModuleNotFoundError"),
        ("raise SystemError('out of order')", "sick:DRIVER", "out of order"),
        ("DRIVER = 7", "sick:DRIVER", "is no gateway.field.contract.Driver"),
        ("", "sick:DRIVER", "AttributeError"),
    ],
)
def test_a_broken_package_is_named_and_stops_nobody_else(
    module: str, entry: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sick.py").write_text(module, encoding="utf-8")
    info = tmp_path / "sick_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sick-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[gateway.field]\nsick = {entry}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sick", raising=False)
    found = drivers()
    assert {"modbus-tcp", "modbus-rtu", "modbus-rtu-tcp", "opcua", "line"} <= set(found)
    with pytest.raises(ValidationError) as errors:
        found["sick"].connection.model_validate({"driver": "sick", "devices": {"a": {"tags": {"b": {}}}}})
    (error,) = errors.value.errors()
    assert "sick-package" in error["msg"]
    assert reason in error["msg"]


def test_the_s7_driver_is_shipped_as_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["gateway.field"]["s7"].partition(":")
    driver = getattr(import_module(module), name)
    assert isinstance(driver, Driver)
    assert driver.name == "s7"


def test_no_protocol_library_is_loaded_before_it_is_needed() -> None:
    heavy = ("asyncua", "serial", "snap7", "pymodbus")
    code = f"import sys, gateway.field.drivers, gateway.field.s7; print([m for m in {heavy} if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
