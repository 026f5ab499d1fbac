"""The audit log: any change to it shows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path

import pytest

from gateway.runtime.audit import AuditLog, files, verify
from gateway.tools.audit import verify as tool
from tests.fakes.waiting import until


async def filled(path: Path, records: int, **options: int) -> None:
    async with AuditLog(path, **options) as log:
        for number in range(records):
            await log.record(1000 + number, "request", {"id": f"a{number}", "text": "käse"})


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


def records(path: Path) -> list[dict[str, object]]:
    """The records of a file, without lines that are none."""
    lines = [line for line in path.read_bytes().split(b"\n") if line.startswith(b"{") and line.endswith(b"}")]
    return [json.loads(line) for line in lines]


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


async def test_a_cut_at_any_byte_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 2)
    first = len(path.read_bytes().splitlines(keepends=True)[0])
    whole = path.read_bytes()
    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        await filled(path, 1)
        kinds = [record["kind"] for record in records(path)]
        complete = 2 if cut >= len(whole) - 1 else 1  # only the line's end may be missing from a complete one
        torn = cut not in {first, len(whole) - 1, len(whole)}
        assert kinds == ["request"] * complete + ["torn"] * torn + ["request"], cut
        assert verify(path).fault == "", cut


async def test_a_cut_in_the_record_of_a_cut_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 1)
    path.write_bytes(path.read_bytes() + b'{"seq":2,"ti')
    torn_at = path.stat().st_size
    await filled(path, 1)
    whole = path.read_bytes()
    end = whole.index(b"\n", torn_at + 1)
    for cut in range(torn_at, end):
        path.write_bytes(whole[:cut])
        await filled(path, 1)
        assert (verify(path).fault, verify(path).records) == ("", 3), cut
        path.write_bytes(path.read_bytes().replace(b'{"seq":2,"ti', b'{"seq":2,"xx', 1))
        assert verify(path).fault == f"{path}:2: no record", cut


async def test_a_new_file_torn_at_its_first_line_goes_on_with_the_old_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 3)
    path.rename(tmp_path / "audit.log.1")
    path.write_bytes(b'{"seq":4,"ti')
    await filled(path, 1)
    assert (verify(path).fault, verify(path).records) == ("", 5)


async def test_what_a_failing_disk_leaves_never_breaks_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.log"
    await filled(path, 2)

    def part(descriptor: int, data: bytes) -> int:
        return real_write(descriptor, data[:20])

    def broken(*_: object) -> None:
        raise OSError("Input/output error")

    real_write = os.write
    async with AuditLog(path) as log:
        for fault, name in ((part, "write"), (broken, "fsync"), (broken, "ftruncate")):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, fault)
                if name == "ftruncate":
                    patch.setattr(os, "write", part)
                with pytest.raises(OSError, match=r"Input/output|20 of"):
                    await log.record(1, "request", {"id": name})
            await log.record(2, "request", {"id": f"after {name}"})
            assert verify(path).fault == "", name
    assert [record["kind"] for record in records(path)] == ["request"] * 4 + ["torn", "request"]


async def test_a_disk_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.log"
    gate, hanging = socket.socketpair()

    def hang(descriptor: int) -> None:
        hanging.recv(1)
        real(descriptor)

    real = os.fsync
    async with AuditLog(path, patience_s=0.1) as log:
        monkeypatch.setattr(os, "fsync", hang)
        with pytest.raises(TimeoutError, match="within"):
            await log.record(1, "request", {"id": "a"})
        with pytest.raises(TimeoutError, match=r"does not answer$"):
            await log.record(2, "request", {"id": "b"})
        monkeypatch.setattr(os, "fsync", real)
        gate.close()
        await until(lambda: path.read_bytes().endswith(b"\n"))
        await retried(log)
    hanging.close()
    assert [record["id"] for record in records(path)] == ["a", "c"]
    assert verify(path).fault == ""


async def retried(log: AuditLog) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(TimeoutError):
                await log.record(3, "request", {"id": "c"})
                return
            await asyncio.sleep(0.01)


async def test_callers_that_are_cancelled_leave_the_chain_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with AuditLog(path) as log:
        for number in range(20):
            task = asyncio.create_task(log.record(number, "request", {"id": "cancelled"}))
            await asyncio.sleep(0)
            task.cancel()
            await log.record(number, "request", {"id": "next"})
    assert (verify(path).fault, verify(path).records) == ("", 40)


async def test_nothing_in_a_record_can_forge_a_line_or_move_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    hostile = 'x\r\n{"seq":1}\u2028\u0085\x9b2J\x1b[2J\u202eabc\ud800 käse 焊接'
    async with AuditLog(path) as log:
        await log.record(1, "request", {"id": hostile})
    text = path.read_text(encoding="utf-8")
    assert text.removesuffix("\n").isprintable()
    assert "käse 焊接" in text
    assert json.loads(text)["id"] == hostile
    assert verify(path).fault == ""


async def test_what_is_no_file_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    os.mkfifo(path)
    with pytest.raises(OSError, match="is no file"):
        await filled(path, 1)


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
