"""The audit log: any change to it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.tools.audit import verify as tool
from gateway.upstream.audit import AuditLog, files, verify


async def filled(path: Path, records: int, **options: int) -> AuditLog:
    log = AuditLog(path, **options)
    for number in range(records):
        await log.record(1000 + number, "request", {"id": f"a{number}", "text": "käse"})
    return log


async def test_records_are_chained(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    first, second, third = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["seq"], first["previous"], first["id"]) == (1, "0" * 64, "a0")
    assert (second["previous"], third["previous"]) == (first["hash"], second["hash"])
    verdict = verify(path)
    assert (verdict.fault, verdict.records, verdict.last) == ("", 3, third["hash"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert tool(path)[0]


async def test_a_restart_goes_on_with_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    await filled(path, 3)
    assert verify(path).records == 6
    assert verify(path).fault == ""


@pytest.mark.parametrize("row", range(5))
async def test_a_changed_record_shows(tmp_path: Path, row: int) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 5)
    lines = path.read_text().splitlines(keepends=True)
    lines[row] = lines[row].replace(f'"id":"a{row}"', '"id":"xx"')
    path.write_text("".join(lines))
    verdict = verify(path)
    assert (verdict.fault, verdict.records) == (f"{path}:{row + 1}: the record was changed", row)
    assert not tool(path)[0]


@pytest.mark.parametrize("row", range(4))
async def test_a_removed_record_shows(tmp_path: Path, row: int) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 5)
    lines = path.read_text().splitlines(keepends=True)
    del lines[row]
    path.write_text("".join(lines))
    if row == 0:  # as after a rotation that dropped old files: the rest holds, and its numbers tell
        assert (verify(path).fault, json.loads(lines[0])["seq"]) == ("", 2)
    else:
        assert "removed" in verify(path).fault


async def test_an_inserted_line_shows(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[0], *lines[1:]]))
    assert "put in" in verify(path).fault
    path.write_text("".join([lines[0], "garbage\n", *lines[1:]]))
    assert "no record" in verify(path).fault


async def test_a_line_torn_by_a_power_cut_is_kept_and_said(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    with path.open("ab") as file:
        file.write(b'{"seq":4,"ti')
    assert "no record" in verify(path).fault
    await filled(path, 2)
    verdict = verify(path)
    assert (verdict.fault, verdict.records) == ("", 6)
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()[4:]] == ["torn", "request", "request"]
    path.write_text(path.read_text().replace('{"seq":4,"ti\n', '{"seq":4,"xx\n'))
    assert "no record" in verify(path).fault


async def test_rotation_keeps_the_chain_over_files(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 50, max_bytes=1000)
    found = files(path)
    assert len(found) > 5
    assert found[-1] == path
    assert max(file.stat().st_size for file in found) < 1400
    assert (verify(path).fault, verify(path).records) == ("", 50)
    await filled(path, 1, max_bytes=1000)
    assert verify(path).records == 51
    middle = found[3]
    middle.unlink()
    assert "removed" in verify(path).fault


async def test_old_files_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 50, max_bytes=1000, kept=3)
    assert len(files(path)) == 4
    assert verify(path).fault == ""


async def test_an_empty_newest_file_after_a_crash_in_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    path.rename(tmp_path / "audit.log.1")
    path.write_bytes(b"")
    await filled(path, 1)
    assert (verify(path).fault, verify(path).records) == ("", 4)


async def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await filled(tmp_path / "missing" / "audit.log", 1)


def test_no_log_is_a_fault(tmp_path: Path) -> None:
    assert "no such log" in verify(tmp_path / "audit.log").fault
