from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LinkError
from gateway.field.line.decode import LineDecoder
from gateway.field.line.settings import LineDevice
from gateway.tools.simulation.lines import matching_line, spoken_line

SCALE = r"^(?P<mode>ST|US),GS,(?P<weight>[+-]\d+\.\d+)kg$"


@given(st.floats(-9000, 9000))
def test_a_scale_says_the_weight_it_was_given(weight: float) -> None:
    match = re.fullmatch(SCALE, matching_line(SCALE, {"weight": weight}))
    assert match
    assert float(match["weight"]) == pytest.approx(weight, abs=0.0051)


def test_alternatives_take_turns() -> None:
    assert [matching_line(SCALE, {"weight": 1.0}, turn)[:2] for turn in range(3)] == ["ST", "US", "ST"]


@pytest.mark.parametrize(
    ("pattern", "number", "line"),
    [
        (r"W(?P<w>\d{5})(?:kg|g)", 12.0, "W00012kg"),
        (r"(?P<w>[ -]\d{3}\.\d) C\s?", 21.54, " 021.5 C"),
        (r"[^,;]{2}(?P<w>\d+),\d\d", 7.0, None),
        (r"\x02(?P<w>[+-]?\d+(?:\.\d+)?)\x03", -3.25, "\x02-3.25\x03"),
        (r"(?P<w>[\])(]{2})", 1.0, None),
    ],
)
def test_many_forms_of_instruments(pattern: str, number: float, line: str | None) -> None:
    made = matching_line(pattern, {"w": number})
    assert re.fullmatch(pattern, made)
    assert line is None or made == line


def test_a_pattern_beyond_us_is_said() -> None:
    with pytest.raises(ValueError, match="no example"):
        matching_line(r"(?P<w>\d)(?=x)", {})


@pytest.mark.parametrize("checksum", ["none", "xor", "sum8", "crc16-modbus", "nmea"])
def test_lines_carry_their_checksum(checksum: str) -> None:
    device = LineDevice.model_validate(
        {"pattern": r"\$WIMWV,(?P<v>\d+\.\d),M", "checksum": checksum, "tags": {"v": {"field": "v"}}}
    )
    fields = LineDecoder(device).decode(spoken_line(device, {"v": 3.5}))
    assert fields is not None
    assert fields.raw.tolist() == [3.5]


def test_a_pattern_that_matches_its_checksum_too() -> None:
    device = LineDevice.model_validate(
        {"pattern": r"\$X,(?P<v>\d+)\*[0-9A-F]{2}", "checksum": "nmea", "tags": {"v": {"field": "v"}}}
    )
    assert LineDecoder(device).decode(spoken_line(device, {"v": 4.0})) is not None


def test_a_device_without_an_example_is_refused() -> None:
    device = LineDevice.model_validate({"pattern": r"(?P<v>\d)(?!x)", "tags": {"v": {"field": "v"}}})
    with pytest.raises(LinkError, match="no example"):
        spoken_line(device, {})
