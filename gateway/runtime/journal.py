r"""The native journal protocol: structured log entries in one datagram to systemd-journald, nothing to parse there.

    KEY=value\n                                 a value of one line
    KEY\n<u64 little endian length>value\n      any other value, so a payload can't forge a field

An entry too large for a datagram travels as a sealed memfd (systemd's Native Journal Protocol). systemd-python sends
the same entries where it is installed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
_DATAGRAM: Final = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK

Fields = Mapping[str, str]
Write = Callable[[Fields], None]


def encode(fields: Fields) -> bytes:
    """One entry. Names must be journal field names: upper case letters, digits and underscores."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def stderr_is_journal(environ: Mapping[str, str] = os.environ, fd: int = 2) -> bool:
    """Whether file descriptor 2 is the journal's stream: JOURNAL_STREAM holds its device and inode."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"


def native_writer(path: str = JOURNAL_SOCKET) -> Write:
    """Writes entries to journald's socket, also after journald was restarted. A full or gone journal drops entries."""

    def write(fields: Fields) -> None:
        data = encode(fields)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, _DATAGRAM) as channel:
            try:
                channel.sendto(data, path)
            except OSError as error:
                if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                    raise
                _send_sealed(channel, path, data)

    return write


def library_writer() -> Write | None:
    """Writes entries through systemd-python; None where it isn't installed."""
    try:
        sendv = importlib.import_module("systemd.journal").sendv
    except (ImportError, AttributeError):
        return None

    def write(fields: Fields) -> None:
        with contextlib.suppress(OSError):
            sendv(*(f"{name}={value}" for name, value in fields.items()))

    return write


def _send_sealed(channel: socket.socket, path: str, data: bytes) -> None:
    with os.fdopen(os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", buffering=0) as file:
        file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))]
        channel.sendmsg([b""], rights, 0, path)
