"""Opening a serial port: exclusively, and what is said where it can't be had."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gateway.errors import LinkError
from gateway.field.serialport import SerialLine, open_port, why
from tests.fakes.line import PtyInstrument


async def test_a_port_that_is_taken_absent_or_no_port_is_named(tmp_path: Path) -> None:
    scale = PtyInstrument()
    first = await open_port(SerialLine(scale.port))
    with pytest.raises(LinkError, match="in use by another program"):
        await open_port(SerialLine(scale.port))
    first.close()
    (await open_port(SerialLine(scale.port))).close()
    scale.close()
    with pytest.raises(LinkError, match="no such port"):
        await open_port(SerialLine(str(tmp_path / "ttyUSB0")))
    file = tmp_path / "notes.txt"
    file.touch()
    with pytest.raises(LinkError, match="notes"):
        await open_port(SerialLine(str(file)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "group dialout"),
        (errno.ENOENT, "no such port"),
        (errno.EBUSY, "in use by another program"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_port_that_cant_be_opened_says_what_to_do(code: int, words: str) -> None:
    assert words in why("/dev/ttyUSB9", code, "")
