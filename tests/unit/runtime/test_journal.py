from __future__ import annotations

import array
import logging
import os
import socket
import struct
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.journal import encode, library_writer, native_writer, stderr_is_journal
from gateway.runtime.logs import JournalHandler

NAMES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=10)


def decode(data: bytes) -> dict[str, str]:
    """The receiver's side of the native protocol, straight from its description."""
    fields: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", data)
            value, data = data[8 : 8 + length], data[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


@given(st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]))))
def test_no_value_can_forge_a_field(fields: dict[str, str]) -> None:
    assert decode(encode(fields)) == fields


def test_the_two_forms() -> None:
    assert encode({"A": "x"}) == b"A=x\n"
    assert encode({"A": "x\nB=y"}) == b"A\n\x05\0\0\0\0\0\0\0x\nB=y\n"


def test_stderr_is_the_journal_when_device_and_inode_agree(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("wb") as file:
        status = os.fstat(file.fileno())
        assert stderr_is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, file.fileno())
        assert not stderr_is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, file.fileno())
        assert not stderr_is_journal({}, file.fileno())


def receive(channel: socket.socket) -> dict[str, str]:
    data, ancillary, _, _ = channel.recvmsg(1 << 16, socket.CMSG_SPACE(4))
    for level, kind, payload in ancillary:
        assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        descriptor = array.array("i", payload)[0]
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return decode(file.read())
    return decode(data)


def test_a_record_arrives_with_its_fields(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "journal"))
        channel.settimeout(10)
        record = logging.makeLogRecord(
            {"msg": "%s: down\n", "args": ("press",), "levelno": logging.WARNING, "levelname": "WARNING"}
            | {"device": "press", "error": "timeout\nPRIORITY=0", "name": "gateway.field"}
        )
        JournalHandler(native_writer(str(tmp_path / "journal"))).handle(record)
        fields = receive(channel)
    assert fields["MESSAGE"] == "press: down\\x0a"
    assert fields["PRIORITY"] == "4"
    assert fields["DEVICE"] == "press"
    assert fields["ERROR"] == "timeout\\x0aPRIORITY=0"
    assert fields["LOGGER"] == "gateway.field"
    assert "TAG" not in fields


def test_an_entry_too_large_for_a_datagram_travels_as_a_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "journal"))
        channel.settimeout(10)
        native_writer(str(tmp_path / "journal"))({"MESSAGE": "x" * 1_000_000})
        assert receive(channel) == {"MESSAGE": "x" * 1_000_000}


def test_a_vanished_journal_is_no_error(tmp_path: Path) -> None:
    native_writer(str(tmp_path / "gone"))({"MESSAGE": "x"})


def test_the_library_gets_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    module = types.ModuleType("systemd.journal")
    module.sendv = lambda *fields: sent.append(fields)  # type: ignore[attr-defined]  # a stand-in for systemd-python
    monkeypatch.setitem(sys.modules, "systemd", types.ModuleType("systemd"))
    monkeypatch.setitem(sys.modules, "systemd.journal", module)
    write = library_writer()
    assert write is not None
    write({"MESSAGE": "x", "DEVICE": "press"})
    assert sent == [("MESSAGE=x", "DEVICE=press")]
