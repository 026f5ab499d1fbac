"""`gateway check`, `tags` and `schema` as people and scripts call them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.__main__ import app, main
from gateway.config.schema import schema

CASES = Path(__file__).parents[2] / "cases"
EXAMPLE = CASES / "contract_example/gateway.yaml"
FAULTY = CASES / "device_twice/gateway.yaml"


def gateway(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_valid_file_and_every_address_in_both_notations() -> None:
    found = gateway("check", EXAMPLE)
    assert (found.exit_code, found.stderr) == (0, "")
    first, *lines = found.stdout.splitlines()
    assert first == f"{EXAMPLE}: valid: 5 devices, 20 tags"
    assert lines[0].startswith("  press, every 0.5s: temperature holding:100 (40101), running coil:3 (00004), ")
    assert "fault holding:140.3 (40141.3)" in lines[0]
    assert [line.split(",")[0].strip() for line in lines] == ["press", "meter-1", "meter-2", "welder", "scale"]
    assert gateway("check", "--quiet", EXAMPLE).output == ""


def test_a_wrong_file_on_stderr_errors_first() -> None:
    found = gateway("check", FAULTY)
    assert (found.exit_code, found.stdout) == (78, "")
    lines = found.stderr.splitlines()
    assert lines[0] == f"{FAULTY}:12:7: connections.two.devices.press: this device name stands in connection one too"
    assert [line.endswith("[warning]") for line in lines] == [False, False, False, True]
    assert gateway("check", "-q", FAULTY).stderr == found.stderr


@pytest.mark.parametrize(
    "file", [EXAMPLE, FAULTY, CASES / "hardly_meant/gateway.yaml", CASES / "empty_file/gateway.yaml"]
)
def test_json_has_the_contract_s_shape(file: Path) -> None:
    found = gateway("check", file, "--json")
    report: dict[str, Any] = json.loads(found.stdout)
    assert list(report) == ["valid", "errors", "warnings"]
    assert report["valid"] == (found.exit_code == 0) == (not report["errors"])
    assert found.exit_code in {0, 78}
    for finding in report["errors"] + report["warnings"]:
        assert list(finding) == ["file", "line", "column", "path", "message", "hint"]
        assert [type(value) for value in finding.values()] == [str, int, int, str, str, str]
        assert finding["file"] == str(file)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("nobody.yaml", 66, "no such file"), (".", 1, "is a directory"), ("latin.yaml", 78, "no UTF-8")],
)
def test_what_cant_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    code: int,
    words: str,
) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"gateway: {name: \xff}")
    monkeypatch.setattr(sys, "argv", ["gateway", "check", str(tmp_path / name)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    [line] = capsys.readouterr().err.splitlines()
    assert words in line


def test_tags_of_the_contract_s_example() -> None:
    rows = {row["tag"]: row for row in json.loads(gateway("tags", EXAMPLE, "--json").stdout)}
    assert len(rows) == 20
    assert rows["press.temperature"]["address"] == "holding:100 (40101)"
    assert [f"press.zones.{n}" in rows for n in range(9)] == [True] * 8 + [False]
    assert (rows["press.speed"]["every_s"], rows["scale.weight"]["every_s"], rows["welder.current"]["every_s"]) == (
        0.5,
        1,
        0.1,
    )
    assert rows["press.setpoint"]["write"] == [0, 1500]
    assert rows["press.temperature"]["write"] is None
    assert rows["press.temperature"]["steps"] == ["spike", "swinging-door"]


def test_the_schema_is_printed() -> None:
    assert json.loads(gateway("schema").stdout) == schema()
