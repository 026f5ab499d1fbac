from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import computed
from gateway.readings import Readings, Tag, TagTable
from tests.unit.pipeline.reference import Row
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, rows_of, steps

MILLI = 1_000_000


def vibration(**more: Any) -> dict[str, Any]:
    return {"vibration": {"window": 256, "raw": False, **more}}


def named(found: Readings, table: TagTable) -> dict[str, list[Row]]:
    return {tag.name: rows_of(found, index) for index, tag in enumerate(table) if (found.tag == index).any()}


def test_features_of_a_sine() -> None:
    line, table = pipeline(vibration())
    wave = 5.0 + 3.0 * np.sin(2 * np.pi * np.arange(256) / 32)
    found = named(line.process(readings(good(wave.tolist(), MILLI))), table)
    assert found["t.rms"][0][::2] == (255 * MILLI, 0)
    assert found["t.rms"][0][1] == pytest.approx(3.0 / math.sqrt(2.0))
    assert found["t.peak"][0][1] == pytest.approx(3.0)
    assert found["t.crest"][0][1] == pytest.approx(math.sqrt(2.0))
    assert found["t.kurtosis"][0][1] == pytest.approx(1.5)
    assert "t" not in found


def test_features_of_noise_against_numpy() -> None:
    line, table = pipeline(vibration(window=4096))
    wave = np.random.default_rng(1).normal(2.0, 0.5, 4096)
    found = named(line.process(readings(good(wave.tolist(), MILLI))), table)
    off = wave - wave.mean()
    assert found["t.rms"][0][1] == pytest.approx(wave.std())
    assert found["t.peak"][0][1] == pytest.approx(np.abs(off).max())
    assert found["t.kurtosis"][0][1] == pytest.approx(np.mean(off**4) / np.mean(off**2) ** 2)


def test_a_constant_has_no_features_but_is_no_error() -> None:
    line, table = pipeline(vibration(bands={"low": {"low": 1, "high": 100}}))
    found = named(line.process(readings(good([7.0] * 256, MILLI))), table)
    assert [found[f"t.{word}"][0][1:] for word in ("rms", "peak", "crest", "kurtosis", "low")] == [(0.0, 0)] * 5


@pytest.mark.parametrize("given_rate", [True, False])
def test_bands_split_the_energy(given_rate: bool) -> None:
    bands = {"low": {"low": 20, "high": 100}, "high": {"low": 100, "high": 500}}
    more: dict[str, Any] = {"sample_rate": 1000} if given_rate else {}
    line, table = pipeline(vibration(window=1000, bands=bands, **more))
    t = np.arange(1000) / 1000.0
    wave = 2.0 * np.sin(2 * np.pi * 50 * t) + 0.6 * np.sin(2 * np.pi * 200 * t)
    found = named(line.process(readings(good(wave.tolist(), MILLI))), table)
    assert found["t.low"][0][1] == pytest.approx(2.0, rel=1e-3)
    assert found["t.high"][0][1] == pytest.approx(0.18, rel=1e-3)


def test_windows_do_not_depend_on_how_readings_arrive() -> None:
    wave = np.random.default_rng(2).normal(size=1000).tolist()
    rows = good(wave, MILLI)
    whole, table = pipeline(vibration())
    pieces, _ = pipeline(vibration())
    wanted = named(whole.process(readings(rows)), table)
    parts = [pieces.process(readings(rows[start : start + 7])) for start in range(0, 1000, 7)]
    assert named(Readings.join(parts), table) == wanted
    assert len(wanted["t.rms"]) == 3


def test_a_bad_sample_spoils_its_waveform_and_is_told_once_a_minute() -> None:
    line, table = pipeline(vibration())
    rows = good([1.0, 2.0] * 100, MILLI)
    rows += [(SECOND + number * 100 * MILLI, math.nan, 0x81) for number in range(700)]
    rows += good([1.0, 2.0] * 128, MILLI, start_ns=100 * SECOND)
    found = named(line.process(readings(rows)), table)
    assert [(t // SECOND, q) for t, _, q in found["t.rms"]] == [(1, 0x81), (61, 0x81), (100, 0)]
    assert math.isnan(found["t.crest"][0][1])
    assert found["t.peak"][-1][1] == 0.5


def test_a_gap_or_a_clock_set_back_starts_a_new_waveform() -> None:
    for start in (10 * SECOND, 0):
        line, table = pipeline(vibration())
        line.process(readings(good([1.0, 2.0] * 100, MILLI)))
        assert not len(line.process(readings(good([1.0, 2.0] * 127, MILLI, start_ns=start))))
        found = named(line.process(readings(good([1.0, 2.0], MILLI, start_ns=start + 254 * MILLI))), table)
        assert len(found["t.rms"]) == 1


def array_line(size: int, **more: Any) -> tuple[Pipeline, TagTable]:
    chain = steps({"vibration": {"raw": False, **more}})
    elements = [Tag("press", f"wave.{number}") for number in range(size)]
    added = [tag for element in elements for tag in computed(element, chain)]
    table = TagTable([*elements, *added])
    return Pipeline(table, dict.fromkeys(range(size), chain)), table


def test_an_array_is_a_waveform_of_its_own_size() -> None:
    line, table = array_line(64, sample_rate=64, bands={"three": {"low": 2, "high": 5}})
    wave = np.sin(2 * np.pi * 3 * np.arange(64) / 64)
    for poll in range(3):
        order = np.random.default_rng(poll).permutation(64)
        found = named(
            line.process(
                Readings(
                    order.astype(np.uint32), np.full(64, poll * SECOND, np.int64), wave[order], np.zeros(64, np.uint8)
                )
            ),
            table,
        )
        assert [len(rows) for rows in found.values()] == [1] * 5
        assert found["wave.rms"][0][::2] == (poll * SECOND, 0)
        assert found["wave.rms"][0][1] == pytest.approx(math.sqrt(0.5))
        assert found["wave.three"][0][1] == pytest.approx(0.5, rel=1e-3)


def test_a_dead_array_gives_one_bad_row_per_feature() -> None:
    line, table = array_line(64)
    tags = np.arange(64, dtype=np.uint32)
    dead = Readings(tags, np.zeros(64, np.int64), np.full(64, np.nan), np.full(64, 0x81, np.uint8))
    found = named(line.process(dead), table)
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(
        ["wave.rms", "wave.peak", "wave.crest", "wave.kurtosis"], 1
    )
