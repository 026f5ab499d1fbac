"""Reading recorded CSV data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.errors import GatewayError
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.tools.recording import Recording, parse_time, read

TABLE = TagTable(
    [
        Tag("press", "t", unit="degC", low=-40.0, high=400.0),
        Tag("press", "running", "bool"),
        Tag("press", "batch", "string"),
        Tag("press", "t.anomaly"),
    ]
)
USABLE = (0, 1, 2)
START = 1_396_310_400_000  # 2014-04-01 00:00 UTC


def recorded(folder: Path, text: str, tag: str | None = None) -> Recording:
    file = folder / "data.csv"
    file.write_text(text, encoding="utf-8")
    return read(file, TABLE, USABLE, tag)


def rows(readings: Readings) -> list[tuple[int, int, float | None, int]]:
    values = [None if np.isnan(value) else value for value in readings.value.tolist()]
    times = (readings.time_ns // 1_000_000).tolist()
    return list(zip(readings.tag.tolist(), times, values, readings.quality.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2014-04-01 00:00:00", START * 1000),
        ("2014-04-01T00:00:00Z", START * 1000),
        ("2014-04-01T02:00:00+02:00", START * 1000),
        ("2014-04-01 00:00:00.000000", START * 1000),
        ("2014-04-01 00:00:00.123456", START * 1000 + 123_456),
        ("2014-04-01", START * 1000),
        (f"{START}", START * 1000),
        (f"{START}.5", START * 1000 + 500),
        ("1.3963104e12", START * 1000),
        ("-1", -1000),
        ("0", 0),
    ],
)
def test_times(text: str, microseconds: int) -> None:
    assert parse_time(text) == microseconds * 1000


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "2014-13-01", "1e30", "12:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)


def test_one_column_per_tag_row_by_row(tmp_path: Path) -> None:
    found = recorded(tmp_path, f"time,press.running,press.t\n{START},1,20.5\n{START + 500},0,21\n")
    assert rows(found.readings) == [
        (1, START, 1.0, 0),
        (0, START, 20.5, 0),
        (1, START + 500, 0.0, 0),
        (0, START + 500, 21.0, 0),
    ]
    assert found.tags == [1, 0]
    assert found.ignored == []


def test_any_value_column_with_a_tag(tmp_path: Path) -> None:
    for header in ("timestamp,value", "timestamp,whatever", "time,press.t"):
        found = recorded(tmp_path, f"{header}\n2014-04-01 00:00:00,20.5\n", "press.t")
        assert rows(found.readings) == [(0, START, 20.5, 0)], header
    several = recorded(tmp_path, "time,label,value\n2014-04-01,0,20.5\n", "press.t")
    assert rows(several.readings) == [(0, START, 20.5, 0)]
    headless = recorded(tmp_path, "2014-04-01,20.5\n2014-04-02,21.5\n", "press.t")
    assert [row[2] for row in rows(headless.readings)] == [20.5, 21.5]


def test_order_and_times_stay_as_recorded(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,value\n3000,1\n3000,2\n1000,3\n", "press.t")
    assert [(row[1], row[2]) for row in rows(found.readings)] == [(3000, 1.0), (3000, 2.0), (1000, 3.0)]


def test_empty_cells_are_no_readings_and_wrong_ones_are_bad(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,press.t,press.running\n0,,1\n1,n/a,\n2,nan,\n3,inf,\n4,401,\n5,-40,\n")
    assert rows(found.readings) == [
        (1, 0, 1.0, 0),
        (0, 1, None, Quality.BAD_DECODE),
        (0, 2, None, Quality.BAD_DECODE),
        (0, 3, None, Quality.BAD_DECODE),
        (0, 4, 401.0, Quality.BAD_RANGE),
        (0, 5, -40.0, 0),
    ]


def test_truths_and_texts(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,press.running,press.batch\n0,true,A-1\n1,FALSE,B 2\n2,0,A-1\n")
    assert [row[2] for row in rows(found.readings)] == [
        1.0,
        text_hash("A-1"),
        0.0,
        text_hash("B 2"),
        0.0,
        text_hash("A-1"),
    ]
    assert found.readings.texts[text_hash("B 2")] == "B 2"


def test_columns_that_name_no_tag_are_named(tmp_path: Path) -> None:
    found = recorded(tmp_path, "time,press.t,press.t.anomaly,note\n0,1,0.5,x\n")
    assert found.ignored == ["press.t.anomaly", "note"]


@pytest.mark.parametrize(
    ("text", "tag", "sentence"),
    [
        ("time,press.tt\n0,1\n", None, "no column is named after a tag: 'press.tt' (did you mean \"press.t\"?)"),
        (
            "time,value\n0,1\n",
            "press.tt",
            "there is no tag 'press.tt' with recorded values (did you mean \"press.t\"?)",
        ),
        ("time,value\n0,1\n", "press.t.anomaly", "there is no tag 'press.t.anomaly' with recorded values"),
        ("time,value\n0,1\nsoon,2\n", "press.t", "data.csv:3: 'soon' is no time"),
        ("time,value\n0,1\n\n1\n", "press.t", "expected 2 columns, not 1"),
        ("time\n0\n", "press.t", "expected a time column and at least one value column"),
        ("", "press.t", "expected a time column"),
        ("0,1\n", None, "expected a first line with the names of the columns"),
        ("time,press.t,press.t\n0,1,1\n", None, "a column stands twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, tag: str | None, sentence: str) -> None:
    with pytest.raises(GatewayError) as caught:
        recorded(tmp_path, text, tag)
    assert sentence in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"time,value\n\xff\xfe,1\n")
    with pytest.raises(GatewayError, match="this is no CSV file"):
        read(tmp_path / "data.csv", TABLE, USABLE, "press.t")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.csv", TABLE, USABLE)


def test_a_header_alone_is_an_empty_recording(tmp_path: Path) -> None:
    assert len(recorded(tmp_path, "time,value\n", "press.t").readings) == 0
