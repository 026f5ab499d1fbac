"""Logging of the daemon: journal entries with fields, or tidy lines on stderr; repeats collapse, the newest lines stay.

Loggers pass what a line is about in `extra`: device, tag, link, error. The journal gets these as DEVICE=, TAG=, LINK=
and ERROR=, so `journalctl DEVICE=press` finds everything about one device.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

from gateway.runtime.journal import JOURNAL_SOCKET, Write, library_writer, native_writer, stderr_is_journal
from gateway.runtime.printable import printable

FIELDS: Final = ("device", "tag", "link", "upstream", "error")
REPEATS: Final = 5  # lines of one template and subject that pass in a window
WINDOW_S: Final = 60.0
LINES: Final = 200  # kept for the status page
LONGEST: Final = 2000  # characters of a message
_TEMPLATES: Final = 256
_PRIORITY: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
_QUIET: Final = {
    "pymodbus": logging.CRITICAL,
    "asyncua": logging.ERROR,
    "amqtt": logging.ERROR,
    "transitions": logging.ERROR,
    "numba": logging.WARNING,
    "asyncio": logging.WARNING,
    "aiohttp.access": logging.CRITICAL,
    "aiohttp.server": logging.CRITICAL,
}


class Levels(logging.Filter):
    """Lets a record pass from its device's level on, or from the general one."""

    def __init__(self, level: int, devices: Mapping[str, int] = MappingProxyType({})) -> None:
        super().__init__()
        self.level = level
        self.devices = devices

    @property
    def lowest(self) -> int:
        """The lowest level anything passes at."""
        return min(self.level, *self.devices.values(), logging.CRITICAL)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is wanted."""
        return record.levelno >= self.devices.get(getattr(record, "device", ""), self.level)


@dataclass(slots=True)
class _Repeat:
    since: float
    passed: int = 0
    held: int = 0


class Collapse(logging.Filter):
    """Holds back what repeats: 5 lines a minute of one template about one subject; the next one tells how many."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._seen: OrderedDict[tuple[object, ...], _Repeat] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; debug lines always do."""
        if record.levelno <= logging.DEBUG:
            return True
        key = (record.name, record.levelno, str(record.msg), *(getattr(record, field, "") for field in FIELDS[:4]))
        now = self._now()
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Repeat(now)
            if len(self._seen) > _TEMPLATES:
                self._seen.popitem(last=False)
        elif now - seen.since >= WINDOW_S:
            record.held = seen.held
            self._seen[key] = seen = _Repeat(now)
            self._seen.move_to_end(key)
        seen.passed += 1
        if seen.passed > REPEATS:
            seen.held += 1
            return False
        return True


def message_of(record: logging.LogRecord) -> str:
    """The record's message as one safe line."""
    held = getattr(record, "held", 0)
    more = f" ({held} more like this were held back)" if held else ""
    return printable(record.getMessage(), LONGEST) + more


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info:
        return []
    return [printable(line) for line in logging.Formatter().formatException(record.exc_info).splitlines()]


class LineFormatter(logging.Formatter):
    """`2026-03-01T08:00:00.123Z WARNING press-plc: down`; a traceback follows, each line behind `  | `."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as lines that nothing inside it can forge."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        lines = [f"{when}Z {record.levelname:<7} {message_of(record)}", *(f"  | {line}" for line in _traceback(record))]
        return "\n".join(lines)


class JournalHandler(logging.Handler):
    """Writes each record as one entry of the journal."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write the entry; what the journal can't take is dropped there."""
        fields = {
            "MESSAGE": "\n".join([message_of(record), *_traceback(record)]),
            "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "gateway",
            "LOGGER": record.name,
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
        }
        for name in FIELDS:
            value = getattr(record, name, "")
            if value:
                fields[name.upper()] = printable(str(value), LONGEST)
        self._write(fields)


class LogLines(logging.Handler):
    """The newest lines, for the status page: bounded, each with a number that only grows."""

    def __init__(self, size: int = LINES) -> None:
        super().__init__()
        self._lines: deque[dict[str, Any]] = deque(maxlen=size)
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self._number += 1
        line = {
            "number": self._number,
            "time": int(record.created * 1000),
            "level": record.levelname.lower(),
            "message": message_of(record),
        }
        device = getattr(record, "device", "")
        self._lines.append({**line, "device": device} if device else line)

    def newest(self, count: int = LINES) -> list[dict[str, Any]]:
        """The newest lines, oldest of them first."""
        return list(self._lines)[-count:]


class Logs:
    """The daemon's logging while it stands; `level()` changes it at run time."""

    def __init__(self, handler: logging.Handler) -> None:
        self.lines = LogLines()
        self._handlers = (handler, self.lines)
        self._levels = Levels(logging.INFO)
        self._collapse = Collapse()

    def level(self, level: str, devices: Mapping[str, str] = MappingProxyType({})) -> None:
        """What is logged from now on: a general level, and other ones for single devices."""
        names = logging.getLevelNamesMapping()
        self._levels.level = names[level.upper()]
        self._levels.devices = {device: names[word.upper()] for device, word in devices.items()}
        logging.getLogger().setLevel(self._levels.lowest)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written; asked once for all handlers."""
        wanted: bool | None = getattr(record, "wanted", None)
        if wanted is None:
            wanted = record.wanted = self._levels.filter(record) and self._collapse.filter(record)
        return wanted

    def install(self) -> None:
        """Take over the root logger and quiet the libraries that log what we report ourselves."""
        root = logging.getLogger()
        root.handlers[:] = self._handlers
        for handler in self._handlers:
            handler.addFilter(self.filter)
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)
        logging.captureWarnings(capture=True)


def configure(
    level: str = "info", devices: Mapping[str, str] = MappingProxyType({}), stream: TextIO | None = None
) -> Logs:
    """Set logging up: into the journal where stderr is the journal's, else as lines on stderr (or `stream`)."""
    handler: logging.Handler
    if stream is None and stderr_is_journal() and Path(JOURNAL_SOCKET).is_socket():
        handler = JournalHandler(library_writer() or native_writer())
    else:
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(LineFormatter())
    logs = Logs(handler)
    logs.install()
    logs.level(level, devices)
    return logs
