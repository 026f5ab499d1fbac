"""From a server's data values to columns: value, time and status code. Pure; knows values by shape, not by library.

Status (OPC UA part 4, 7.39): the two high bits are the severity. Time: source, else server, else when it was
received; a time before 2000 or more than ten minutes ahead of our clock is passed over and marked uncertain/clock.
While our own clock is not synchronised every time is ours, so that it can be corrected later.

A value that last changed before its tag's newest bad row says nothing new about the past, but is known to hold now:
it gets the server's time, else the time received, or a receiver that sorts by time would see the tag bad for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.field.conversion import Conversion, Rows
from gateway.readings import (
    NO_TEXTS,
    Quality,
    QualityColumn,
    Readings,
    Tag,
    TagColumn,
    TimeColumn,
    ValueColumn,
    text_hash,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US: Final = 946_684_800_000_000  # 2000-01-01
AHEAD_US: Final = 600_000_000
NO_TIME: Final = np.iinfo(np.int64).min
OVERFLOW: Final = 0x480  # info type DataValue and the overflow bit

# Uncertain codes with a meaning of their own; any other uncertain value is a less accurate one.
_STALE: Final = (0x40900000, 0x408F0000, 0x40920000)  # LastUsableValue, NoCommunicationLastUsableValue, InitialValue
_SUBSTITUTE: Final = 0x40910000


class DataValue(Protocol):
    """A value with status and times as servers give it; each may be None."""

    @property
    def Value(self) -> Any: ...  # noqa: D102, N802  # the names are the standard's
    @property
    def StatusCode(self) -> Any: ...  # noqa: D102, N802
    @property
    def SourceTimestamp(self) -> datetime | None: ...  # noqa: D102, N802
    @property
    def ServerTimestamp(self) -> datetime | None: ...  # noqa: D102, N802


class Decoded(NamedTuple):
    """Readings of a device, and the rows behind which the server dropped values."""

    readings: Readings
    overflowed: Rows


def quality_of(status: NDArray[np.uint32]) -> QualityColumn:
    """Quality codes of status codes: bad is bad/exception, uncertain keeps what it means, good is good."""
    severity = status >> 30
    code = status & np.uint32(0xFFFF0000)
    quality = np.zeros(len(status), np.uint8)
    quality[severity == 1] = Quality.UNCERTAIN_PRECISION
    quality[np.isin(code, _STALE)] = Quality.UNCERTAIN_STALE
    quality[code == _SUBSTITUTE] = Quality.UNCERTAIN_REPAIRED
    quality[severity >= 2] = Quality.BAD_EXCEPTION
    return quality


def times_of(
    source_us: TimeColumn, server_us: TimeColumn, received_us: int, floor_us: TimeColumn | int, *, synchronised: bool
) -> tuple[TimeColumn, NDArray[np.bool_]]:
    """UTC in ns, above `floor_us`, and where it is doubtful: the server's time was absurd or our clock isn't right."""
    count = len(source_us)
    if not synchronised:
        return np.full(count, received_us * 1000, np.int64), np.ones(count, np.bool_)
    latest = received_us + AHEAD_US
    chosen = np.full(count, received_us, np.int64)
    for column in (server_us, source_us):
        sane = (column >= EARLIEST_US) & (column <= latest)
        chosen = np.where(sane & (column > floor_us), column, chosen)
    doubtful = (source_us != NO_TIME) & ((source_us < EARLIEST_US) | (source_us > latest))
    return chosen * 1000, doubtful


def _microseconds(time: datetime | None) -> int:
    if time is None:
        return int(NO_TIME)
    past = time - EPOCH
    return (past.days * 86400 + past.seconds) * 1_000_000 + past.microseconds


def _number(value: Any) -> float:
    """A scalar as a number; NaN for arrays, structures and texts. A time is seconds since 1970."""
    if isinstance(value, (int, float)):
        return float(value)
    return (value - EPOCH).total_seconds() if isinstance(value, datetime) and value.tzinfo else np.nan


def _text(value: Any) -> str | None:
    """A scalar as text; None where it is none, or no UTF-8."""
    if value is None or isinstance(value, (list, tuple, dict)):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    text = getattr(value, "Text", value)  # a LocalizedText's text
    text = "" if text is None else str(text)
    try:
        text.encode()
    except UnicodeEncodeError:  # the library puts surrogates in place of bytes that are no UTF-8
        return None
    return text


class DataDecoder:
    """The decoder of one device. Rows are positions in its tags; it remembers each row's newest time."""

    def __init__(self, tags: Sequence[Tag], indices: TagColumn) -> None:
        self._indices = indices
        self._conversion = Conversion(tags)
        self._is_text = np.array([tag.type == "string" for tag in tags], np.bool_)
        self._has_text = bool(self._is_text.any())
        self.newest_ns: TimeColumn = np.zeros(len(tags), np.int64)  # 0: none yet
        self._source_us: TimeColumn = np.full(len(tags), NO_TIME, np.int64)

    def decode(
        self,
        rows: Rows,
        values: Sequence[DataValue],
        received_ns: int,
        floor_ns: TimeColumn | int = 0,
        *,
        synchronised: bool = True,
        confirms: bool = False,
    ) -> Decoded:
        """Readings in the order given; `rows` and `values` have equal length. Never raises on what a server sends.

        `confirms`: the values were read just now, so a sample seen before is known to hold at the server's time, or
        at ours where the server's doesn't move on.
        """
        count = len(rows)
        status = np.fromiter(
            (0 if each.StatusCode is None else each.StatusCode.value for each in values), np.uint32, count
        )
        source = np.fromiter((_microseconds(each.SourceTimestamp) for each in values), np.int64, count)
        server = np.fromiter((_microseconds(each.ServerTimestamp) for each in values), np.int64, count)
        if confirms:
            again = source == self._source_us[rows]
            self._source_us[rows] = source
            source = np.where(again, NO_TIME, source)
            floor_ns = np.where(again, np.maximum(self.newest_ns[rows], floor_ns), floor_ns)
        texts: dict[int, str] = {}
        raw = self._raw(rows, values, texts)
        quality = quality_of(status)
        times, doubtful = times_of(source, server, received_ns // 1000, floor_ns // 1000, synchronised=synchronised)
        quality[doubtful & (quality == Quality.GOOD)] = Quality.UNCERTAIN_CLOCK
        value, quality = self._conversion.apply(rows, raw, quality)
        np.maximum.at(self.newest_ns, rows, times)
        overflowed = np.unique(rows[(status & OVERFLOW) == OVERFLOW])
        return Decoded(Readings(self._indices[rows], times, value, quality, texts or NO_TEXTS), overflowed)

    def _raw(self, rows: Rows, values: Sequence[DataValue], texts: dict[int, str]) -> ValueColumn:
        count = len(rows)
        if self._has_text:
            return np.fromiter(self._mixed(rows, values, texts), np.float64, count)
        return np.fromiter((_number(each.Value.Value) if each.Value else np.nan for each in values), np.float64, count)

    def _mixed(self, rows: Rows, values: Sequence[DataValue], texts: dict[int, str]) -> Iterator[float]:
        for is_text, each in zip(self._is_text[rows].tolist(), values, strict=True):
            value = each.Value.Value if each.Value else None
            if not is_text:
                yield _number(value)
                continue
            text = _text(value)
            if text is None:
                yield np.nan
                continue
            key = text_hash(text)
            texts[key] = text
            yield key


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` positions."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def names_of(rows: Rows, tags: Sequence[Tag], reasons: Mapping[int, str], most: int = 5) -> str:
    """Tags with node and reason for a log line, the first few by name."""
    shown = [f"{tags[row].full_name} ({tags[row].address}: {reasons[row]})" for row in rows[:most].tolist()]
    more = len(rows) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
