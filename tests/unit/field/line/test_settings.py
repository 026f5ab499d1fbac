from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.field.line.settings import LineConnection

SCALE: dict[str, Any] = {"pattern": r"(?P<w>\d+)", "tags": {"weight": {"field": "w"}}}


def connection(device: dict[str, Any] | None = None, **keys: Any) -> LineConnection:
    entry = {"driver": "line", "port": "/dev/ttyUSB0", "devices": {"scale": {**SCALE, **(device or {})}}, **keys}
    return LineConnection.model_validate({key: value for key, value in entry.items() if value is not None})


def test_defaults() -> None:
    settings = connection()
    assert (settings.baudrate, settings.terminator, settings.poll, settings.parity) == (9600, "\r\n", None, "none")


def test_the_line_must_be_quiet_for_ten_t35_on_slow_ports() -> None:
    assert connection(baudrate=1200, timeout="100ms").quiet_s == pytest.approx(350 / 1200)
    assert connection(baudrate=115200, timeout="1s").quiet_s == 1.0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"tcp": "h:1"}, "exactly one of port and tcp"),
        ({"port": None}, "exactly one of port and tcp"),
        ({"port": None, "tcp": "nowhere"}, "host:port"),
        ({"port": None, "tcp": "h:99999"}, "host:port"),
        ({"terminator": "→"}, "latin-1"),
        ({"terminator": ""}, "at least 1 character"),
        ({"device": {"pattern": "("}}, "no regular expression"),
        ({"device": {"pattern": "abc"}}, "no named group"),
        ({"device": {"tags": {"t": {"field": "q"}}}}, "the pattern has no group 'q': one of w"),
        ({"device": {"tags": {"t": {"field": "w", "write": {}}}}}, "can only be read"),
        ({"device": {"tags": {"t": {"field": "w", "type": "bcd16"}}}}, "Input should be"),
        ({"device": {"checksum": "md5"}}, "Input should be"),
        ({"speed": 1}, "Extra inputs"),
    ],
)
def test_what_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as errors:
        connection(**keys)
    assert words in str(errors.value)
