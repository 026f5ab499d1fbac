from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.codec.message import Header, pack
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.tools.decode import DecodeError, lines, print_payloads

TABLE = TagTable([Tag("press", "temperature"), Tag("press", "running", "bool"), Tag("press", "batch", "string")])
AT_NS = 1_732_258_800_123_456_000


def payload(device: str = "press") -> bytes:
    rows = Readings(
        np.array([0, 0, 1, 2], np.uint32),
        AT_NS + np.array([0, 500_000_000, 0, 0]),
        np.array([211.5, np.nan, 1.0, float(text_hash('b"7'))]),
        np.array([0, Quality.BAD_TIMEOUT, 0, Quality.UNCERTAIN_CLOCK], np.uint8),
        {text_hash('b"7'): 'b"7'},
    )
    return pack(Header(TABLE.digest, "9f2c61", 1042, "cell", device), rows)


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    (tmp_path / f"{TABLE.digest}.json").write_bytes(TABLE.to_json())
    return tmp_path / f"{TABLE.digest}.json"


def test_json_lines_are_as_on_the_wire(dictionary: Path) -> None:
    found = [json.loads(line) for line in lines("x", payload(), dictionary)]
    identity = {"boot": "9f2c61", "block": 1042}
    head = {"gateway": "cell", "device": "press"}
    assert found[0] == {
        **head,
        "tag": "temperature",
        "time": 1732258800123,
        "value": 211.5,
        "quality": "good",
        **identity,
    }
    assert found[1]["value"] is None
    assert (found[1]["time"], found[1]["quality"], found[1]["reason"]) == (1732258800623, "bad", "timeout")
    assert found[2]["value"] is True
    assert (found[3]["value"], found[3]["reason"]) == ('b"7', "clock")


def test_times_in_microseconds(dictionary: Path) -> None:
    assert json.loads(next(lines("x", payload(), dictionary, unit_ns=1000)))["time"] == AT_NS // 1000


def test_csv_quotes_what_needs_it(dictionary: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(payload())
    print_payloads([tmp_path / "payload"], dictionary, as_csv=True)
    assert capsys.readouterr().out.splitlines() == [
        "time,tag,value,quality,reason",
        "1732258800123,press.temperature,211.5,good,",
        "1732258800623,press.temperature,,bad,timeout",
        "1732258800123,press.running,true,good,",
        '1732258800123,press.batch,"b""7",uncertain,clock',
    ]


def test_without_a_dictionary_tags_are_numbers() -> None:
    found = [json.loads(line) for line in lines("x", payload(), None)]
    assert [row["tag"] for row in found] == ["#0", "#0", "#1", "#2"]
    assert {row["device"] for row in found} == {"press"}


def test_a_folder_of_dictionaries_is_searched_by_hash(dictionary: Path) -> None:
    assert len(list(lines("x", payload(), dictionary.parent))) == 4


def test_lines_of_hexadecimal_digits_are_payloads_each(
    dictionary: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "hex").write_text(f"{payload().hex()}\n\n{payload().hex().upper()}\n")
    print_payloads([tmp_path / "hex"], dictionary)
    assert len(capsys.readouterr().out.splitlines()) == 8


@pytest.mark.parametrize("data", [b"", b"\x01", b"{}", payload()[:-1], payload() + b"x"])
def test_what_is_no_payload_is_said_in_one_line(data: bytes, dictionary: Path) -> None:
    with pytest.raises(DecodeError, match="somewhere: no columns payload") as caught:
        list(lines("somewhere", data, dictionary))
    assert "\n" not in str(caught.value)


def test_the_wrong_dictionary_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(TagTable([Tag("a", "b")]).to_json())
    with pytest.raises(DecodeError, match="the payload needs"):
        list(lines("x", payload(), other))
    with pytest.raises(FileNotFoundError):
        list(lines("x", payload(), tmp_path / "absent"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DecodeError, match="no tag dictionary"):
        list(lines("x", payload(), tmp_path / "broken.json"))


def test_lines_of_digits_are_printed_as_they_come() -> None:
    command = [sys.executable, "-m", "gateway", "decode"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(2):
            process.stdin.write(payload().hex() + "\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith('{"gateway"')  # though more may follow
        process.stdin.close()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest


@pytest.mark.parametrize("second", ["0g", "012", "\xff"])
def test_a_line_that_is_no_digits_is_named(second: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "payloads"
    file.write_text(f"{payload().hex()}\n{second}\n", encoding="latin-1")
    with pytest.raises(DecodeError, match="payloads, line 2: expected an even number of hexadecimal digits"):
        print_payloads([file], None)
    assert capsys.readouterr().out
