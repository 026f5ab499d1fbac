"""`gateway replay`: from a CSV through a configuration to figures, kept rows and a picture."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import GatewayError
from gateway.pipeline.kernels import anomaly
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.tools.replay import replay, write_kept
from gateway.tools.replaying import suggestion
from tests.bench import nab

DATA = Path(__file__).parents[4] / "shared" / "data" / "nab"
CONFIGURATION = """
gateway: {name: cell}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    devices:
      press:
        tags:
          temperature: {address: 40101, type: float32, unit: degC, steps: [TEMPERATURE]}
          pressure: {address: 40103, type: float32, unit: bar, steps: [PRESSURE]}
          running: {address: "coil:3", type: bool}
derived:
  tags:
    ratio: {expression: "press.temperature / press.pressure"}
upstreams:
  plant: {broker: "mqtt://127.0.0.1"}
"""


def configured(
    folder: Path, temperature: str = "swinging-door: {deviation: 0.5}", pressure: str = "deadband: {absolute: 1}"
) -> Path:
    file = folder / "gateway.yaml"
    steps = ", ".join(f"{{{step}}}" for step in temperature.split("; "))
    text = CONFIGURATION.replace("TEMPERATURE", steps).replace("PRESSURE", f"{{{pressure}}}")
    file.write_text(text, encoding="utf-8")
    return file


def wave(rows: int = 400) -> list[float]:
    return [20 + 10 * math.sin(row / 30) for row in range(rows)]


def recorded(folder: Path, values: list[float], start: int = 1_000_000, every: int = 1000) -> Path:
    file = folder / "data.csv"
    lines = [f"{start + number * every},{value}" for number, value in enumerate(values)]
    file.write_text("time,value\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return file


def kept(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def report(
    capsys: pytest.CaptureFixture[str],
    file: Path,
    data: Path,
    tag: str | None = None,
    out: Path | None = None,
    plot: Path | None = None,
    suggest: bool = False,
) -> dict[str, Any]:
    assert replay(file, data, tag, out, plot, True, suggest) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_kept_rows_rebuild_the_recording_within_the_deviation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, out = wave(), tmp_path / "kept.csv"
    found = report(capsys, configured(tmp_path), recorded(tmp_path, values), "press.temperature", out)
    rows = kept(out)
    assert list(rows[0]) == ["time", "tag", "value", "quality"]
    assert {row["tag"] for row in rows} == {"press.temperature"}
    assert {row["quality"] for row in rows} == {"good"}
    assert rows[0]["time"] == "1000000"
    assert rows[-1]["time"] == "1399000"
    times = [int(row["time"]) for row in rows]
    line = np.interp(1_000_000 + 1000 * np.arange(400), times, [float(row["value"]) for row in rows])
    errors = np.abs(line - values)
    (tag,) = found["tags"]
    assert (tag["tag"], tag["received"], tag["kept"]) == ("press.temperature", 400, len(rows))
    assert tag["ratio"] == len(rows) / 400 < 0.2
    assert tag["worst_error"] == pytest.approx(errors.max())
    assert tag["worst_error"] <= 0.5
    assert tag["rms_error"] == pytest.approx(math.sqrt(np.mean(errors**2)))
    assert tag["raw_worst_error"] == tag["worst_error"]
    assert (found["received"], found["kept"], found["computed"]) == (400, len(rows), 0)


def test_bytes_per_reading_are_those_of_both_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, configured(tmp_path), recorded(tmp_path, wave(), every=10), "press.temperature")
    sent, came = found["bytes_per_reading"], found["bytes_per_received_reading"]
    assert 40 < sent["json"] < 400
    assert 2 < sent["columns"] < sent["json"]
    assert came["json"] == pytest.approx(sent["json"] * found["ratio"])


def test_scores_stand_one_per_row_with_the_recorded_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values, out = wave(300), tmp_path / "kept.csv"
    data = recorded(tmp_path, values)
    text = data.read_text().replace("1005000,", "1004000,").replace("1200000,", "1100000,")  # a repeat, a step back
    data.write_text(text)
    file = configured(tmp_path, "anomaly: {}; swinging-door: {deviation: 0.5}")
    found = report(capsys, file, data, "press.temperature", out)
    rows = [row for row in kept(out) if row["tag"] == "press.temperature.anomaly"]
    times = [line.partition(",")[0] for line in text.splitlines()[1:]]
    assert [row["time"] for row in rows] == times
    assert [row["quality"] for row in rows] == ["uncertain"] * 100 + ["good"] * 200
    time_ns = np.array(times, np.int64) * 1_000_000
    assert [float(row["value"]) for row in rows] == anomaly.score_series(time_ns, np.array(values)).tolist()
    assert found["computed"] == 300


def test_several_tags_and_what_is_derived_from_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data.csv", tmp_path / "kept.csv"
    data.write_text(
        "time,press.temperature,press.pressure,press.running\n1000,20,4,true\n2000,30,5,false\n3000,n/a,5,false\n"
    )
    found = report(capsys, configured(tmp_path), data, None, out)
    rows = [(row["time"], row["tag"], row["value"], row["quality"]) for row in kept(out)]
    assert ("1000", "press.running", "true", "good") in rows
    assert ("1000", "derived.ratio", "5.0", "good") in rows
    assert ("2000", "derived.ratio", "6.0", "good") in rows
    assert ("3000", "derived.ratio", "", "bad") in rows
    assert ("3000", "press.temperature", "", "bad") in rows
    assert [tag["tag"] for tag in found["tags"]] == [
        "press.temperature",
        "press.pressure",
        "press.running",
        "derived.ratio",
    ]


def test_a_derived_tag_without_its_inputs_stays_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, configured(tmp_path), recorded(tmp_path, wave()), "press.temperature")
    assert [tag["tag"] for tag in found["tags"]] == ["press.temperature"]


def test_behind_a_filter_the_error_against_the_recording_is_told_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    values = (np.array(wave()) + rng.normal(size=400)).tolist()
    file = configured(tmp_path, "smooth: {time_constant: 5s}; swinging-door: {deviation: 0.5}")
    (tag,) = report(capsys, file, recorded(tmp_path, values), "press.temperature")["tags"]
    assert tag["worst_error"] <= 0.5 * (1 + 1e-9)
    assert tag["raw_worst_error"] > 1.0


def test_a_deadband_is_judged_by_holding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tag,) = report(capsys, configured(tmp_path), recorded(tmp_path, [1.0, 1.75, 0.5, 9.0]), "press.pressure")["tags"]
    assert (tag["kept"], tag["worst_error"]) == (2, 0.75)


def test_long_recordings_go_through_in_chunks_without_a_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data = configured(tmp_path, "anomaly: {}; swinging-door: {deviation: 0.5}"), recorded(tmp_path, wave(1000))
    found = []
    for chunk in (7, 10_000):
        monkeypatch.setattr("gateway.tools.replaying.CHUNK", chunk)
        report(capsys, file, data, "press.temperature", tmp_path / f"{chunk}.csv")
        rows = kept(tmp_path / f"{chunk}.csv")
        found.append(sorted((row["tag"], int(row["time"]), row["value"], row["quality"]) for row in rows))
    assert found[0] == found[1]


def test_suggestions_come_from_the_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    values = (np.array(wave()) + rng.normal(size=400)).tolist()
    found = report(capsys, configured(tmp_path), recorded(tmp_path, values), "press.temperature", suggest=True)
    (each,) = found["suggestions"]
    assert each["tag"] == "press.temperature"
    assert each["deviation"] == pytest.approx(3.0, rel=0.25)
    assert 0 < each["ratio"] < 0.3


def test_a_suggestion_falls_back_to_the_resolution_and_gives_none_for_a_constant() -> None:
    table = TagTable([Tag("a", "steps"), Tag("a", "register", "uint16", scale=0.1)])

    def suggested(values: list[float], tag: int = 0) -> float:
        count = len(values)
        quality = np.zeros(count, np.uint8)
        readings = Readings(np.full(count, tag, np.uint32), np.arange(count), np.array(values), quality)
        return suggestion(table, readings, tag)

    assert suggested([1.0] * 20 + [1.25] * 20 + [2.0] * 20) == 0.25
    assert suggested([1.0] * 20 + [1.5] * 20, tag=1) == 0.1
    assert suggested([1.0] * 20) == 0.0
    assert suggested([1.0, 2.0]) == 0.0
    assert suggested([1.0, np.nan, 1.0, 1.0]) == 0.0


def test_people_get_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(configured(tmp_path), recorded(tmp_path, wave()), "press.temperature", None, None, False, True) == 0
    text = capsys.readouterr().out
    for words in ("press.temperature", "worst error", "kept ", "json: ", "columns: ", "swinging-door: {deviation: "):
        assert words in text


def test_an_empty_recording_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, configured(tmp_path), recorded(tmp_path, []), "press.temperature", suggest=True)
    assert (found["received"], found["ratio"], found["tags"]) == (0, None, [])
    assert found["bytes_per_reading"] == {"json": None, "columns": None}


def test_columns_without_a_tag_are_told_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    data.write_text("time,press.temperature,note\n1000,20,x\n")
    replay(configured(tmp_path), data, None, None, None, True, False)
    assert "note" in capsys.readouterr().err


def test_a_picture_shows_what_is_rebuilt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "out.png"
    report(capsys, configured(tmp_path), recorded(tmp_path, wave()), "press.temperature", None, plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(GatewayError, match="Format 'nonsense' is not supported"):
        replay(
            configured(tmp_path),
            recorded(tmp_path, wave()),
            "press.temperature",
            None,
            tmp_path / "x.nonsense",
            True,
            False,
        )


def test_without_matplotlib_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GatewayError, match=r"pip install edge-gateway\[plot\]"):
        replay(
            configured(tmp_path), recorded(tmp_path, wave()), "press.temperature", None, tmp_path / "x.png", True, False
        )


def test_values_are_written_so_that_they_read_back(tmp_path: Path) -> None:
    table = TagTable(
        [Tag("a", "real"), Tag("a", "whole", "int16"), Tag("a", "text", "string"), Tag("a", "truth", "bool")]
    )
    values = [0.1 + 0.2, 7.0, 5.0, 0.0, 900.0, np.nan]
    quality = [0, 0, 0, Quality.UNCERTAIN_REPAIRED, Quality.BAD_RANGE, Quality.BAD_TIMEOUT]
    times = np.array([1_500_000, 1_000_000, -1_000_000, 0, 0, 1_234_000_000], np.int64)
    rows = Readings(
        np.array([0, 1, 2, 3, 0, 0], np.uint32), times, np.array(values), np.array(quality, np.uint8), {5: 'a "b", c'}
    )
    write_kept(tmp_path / "out.csv", table, rows)
    assert [tuple(row.values()) for row in kept(tmp_path / "out.csv")] == [
        ("1.5", "a.real", "0.30000000000000004", "good"),
        ("1", "a.whole", "7", "good"),
        ("-1", "a.text", 'a "b", c', "good"),
        ("0", "a.truth", "false", "uncertain"),
        ("0", "a.real", "900.0", "bad"),
        ("1234", "a.real", "", "bad"),
    ]


@pytest.mark.skipif(not DATA.exists(), reason=f"REAL DATA MISSING: no series below {DATA}, none was replayed")
def test_replayed_scores_of_real_series_are_those_the_benchmark_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configured(tmp_path, "anomaly: {}; swinging-door: {deviation: auto}")
    for name in ("realKnownCause/ambient_temperature_system_failure.csv", "realTraffic/speed_7578.csv"):
        found = report(capsys, file, DATA / "data" / name, "press.temperature", tmp_path / "kept.csv")
        (series,) = [each for each in nab.load(DATA) if each.name == name]
        rows = [row for row in kept(tmp_path / "kept.csv") if row["tag"] == "press.temperature.anomaly"]
        assert [int(row["time"]) for row in rows] == (series.time_ns // 1_000_000).tolist()
        scores = anomaly.score_series(series.time_ns, series.value)
        assert [float(row["value"]) for row in rows] == scores.tolist()
        assert found["tags"][0]["received"] == len(series.value)
