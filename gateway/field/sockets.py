"""What a TCP link to a device needs from the kernel, and its errors in words."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Any

_WORDS = {
    errno.ECONNREFUSED: "connection refused: nothing listens there",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ECONNRESET: "connection reset by the other side",
    errno.ETIMEDOUT: "the other side does not answer",
}


def describe(error: OSError | UnicodeError) -> str:
    """A connection error in words."""
    if isinstance(error, UnicodeError):
        return f"the host name can't be one: {error}"
    if isinstance(error, socket.gaierror):
        return f"the host name is not known: {error.strerror}"
    code = error.errno or _same(str(error))
    return _WORDS.get(code, os.strerror(code)) if code else str(error) or type(error).__name__


def _same(text: str) -> int | None:
    """The number of asyncio's "Multiple exceptions: [Errno 111] ..., [Errno 111] ..." where all are the same."""
    codes = set(re.findall(r"\[Errno (\d+)\]", text))
    return int(codes.pop()) if len(codes) == 1 else None


def tune(transport: Any, timeout_s: float) -> None:
    """Make a vanished peer (power off, cable out) end the connection within seconds; no effect on a serial line."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    patience_s = max(5, round(3 * timeout_s))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, patience_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, patience_s // 3))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * 2 * patience_s)
