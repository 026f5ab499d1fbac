"""What SECURITY.md says of the repository: its ten checks have tests, its examples no secrets, its lock hashes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
_SECRET = re.compile(r"password|token|secret|private_key$|^key$", re.IGNORECASE)
_REFERENCES = {"file", "env", "credential"}


def checks() -> list[tuple[str, list[str]]]:
    """Each of the ten checks with the tests it names."""
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [(number, re.findall(r"`(test_\w+)`", tests)) for number, tests in rows]


def test_every_check_names_tests_that_exist() -> None:
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert [number for number, _ in checks()] == [str(number) for number in range(1, 11)]
    for number, tests in checks():
        assert len(tests) >= 2, number
        assert [test for test in tests if test not in there] == [], number


def secrets(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What stands under a key that sounds like a secret."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        if isinstance(key, str) and _SECRET.search(key):
            yield f"{path}.{key}", value
        else:
            yield from secrets(value, f"{path}.{key}")


@pytest.mark.parametrize("file", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda file: file.stem)
def test_no_example_holds_a_secret(file: Path) -> None:
    for path, value in secrets(YAML(typ="safe").load(file.read_text(encoding="utf-8"))):
        reference = isinstance(value, dict) and set(value) <= _REFERENCES
        place = isinstance(value, str) and Path(value).is_absolute()  # of a key file
        assert reference or place, f"{path}: {value}"


def test_every_dependency_is_pinned_by_version_and_hash() -> None:
    text = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 30
    for line in lines:
        assert re.match(r"[\w.\[\]-]+==[\w.]+( ;[^;]*?)?( +--hash=sha256:[0-9a-f]{64})+ *$", line), line[:100]


@pytest.mark.parametrize("unit", ["gateway.service", "gateway@.service"])
def test_the_unit_grants_no_rights(unit: str) -> None:
    lines = (ROOT / "deploy" / unit).read_text(encoding="utf-8").splitlines()
    for line in ("User=gateway", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in lines, line
    assert not [line for line in lines if line.startswith("AmbientCapabilities=")]
    assert [line for line in lines if line.startswith("StateDirectory=")]  # what `systemctl clean --what=state` empties
