from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.errors import SpoolError
from gateway.tools.spool import print_export, print_status
from tests.fakes.spool import START_NS, make, readings


async def filled(path: Path) -> None:
    async with make(path, ("plant", "cloud")) as spool:
        spool.append(readings([1.5, 2.5]))
        spool.event("write", START_NS, {"tag": "press.t0"})
        await spool.commit()
        spool.append(readings([3.5]))


async def test_status_says_what_waits_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await filled(tmp_path / "spool.db")
    print_status(tmp_path / "spool.db", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["blocks"] == 3
    assert found["bytes"] > 0
    assert found["upstreams"]["plant"] == {"blocks": 3, "readings": 3, "oldest": START_NS // 10**6}
    print_status(tmp_path / "spool.db")
    assert "cloud: 3 readings in 3 blocks" in capsys.readouterr().out


async def test_export_prints_every_reading_and_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await filled(tmp_path / "spool.db")
    assert print_export(tmp_path / "spool.db") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("value", row.get("event")) for row in found] == [1.5, 2.5, "write", 3.5]
    assert found[0]["device"] == "press"


async def test_a_look_at_a_running_spool_disturbs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with make(tmp_path / "spool.db") as spool:
        spool.append(readings([1.0]))
        await spool.commit()
        assert print_export(tmp_path / "spool.db") == 0
        assert len(capsys.readouterr().out.splitlines()) == 1
        spool.append(readings([2.0]))
        await spool.commit()
        assert spool._stock.counters.error == ""
        print_status(tmp_path / "spool.db")
        assert "2 readings in 2 blocks" in capsys.readouterr().out


def test_no_spool_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="no such file"):
        print_status(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("this is no database, it only looks like a file that is long enough\n" * 100)
    with pytest.raises(SpoolError, match=r"text\.db"):
        print_export(tmp_path / "text.db")
