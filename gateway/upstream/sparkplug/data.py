"""Readings of one device -> the metrics of its DATA messages. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gateway.codec.sparkplug import encode
from gateway.readings import BAD, Quality, Readings
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.datatypes import Field

MS: Final = 1_000_000
Rows = NDArray[np.intp]


def bodies(
    readings: Readings,
    metric: NDArray[np.int64],
    born_ms: NDArray[np.int64],
    catalog: Catalog,
    limit: int,
    *,
    datatypes: bool,
) -> Iterator[tuple[bytes, int]]:
    """Encoded metrics and their count, one pair per message of at most `limit` bytes where a metric is not larger.

    `metric`: metric index of each row. A row not newer than `born_ms` of its metric is historical; historical and
    live rows never share a message. Rows stand in time order; rows of one metric and millisecond are parted.
    """
    time_ms = readings.time_ns // MS
    late = time_ms <= born_ms[metric]
    for historical in (True, False):
        rows = np.flatnonzero(late == historical)
        rows = rows[np.argsort(time_ms[rows], kind="stable")]
        for part in _without_twins(rows, metric, time_ms):
            yield from _encoded(readings, part, metric, catalog, limit, historical=historical, datatypes=datatypes)


def _without_twins(rows: Rows, metric: NDArray[np.int64], time_ms: NDArray[np.int64]) -> Iterator[Rows]:
    """Parts in which no metric has two rows of one millisecond: the nth such row is in the nth part, in order."""
    if not len(rows):
        return
    order = np.lexsort((time_ms[rows], metric[rows]))  # stable: twins stay in order
    first = np.ones(len(rows), np.bool_)
    first[1:] = (np.diff(metric[rows][order]) != 0) | (np.diff(time_ms[rows][order]) != 0)
    if first.all():
        yield rows
        return
    place = np.arange(len(rows))
    nth = np.empty(len(rows), np.int64)
    nth[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    by_part = np.argsort(nth, kind="stable")
    yield from (rows[part] for part in np.split(by_part, np.cumsum(np.bincount(nth))[:-1]))


def _encoded(
    readings: Readings,
    rows: Rows,
    metric: NDArray[np.int64],
    catalog: Catalog,
    limit: int,
    *,
    historical: bool,
    datatypes: bool,
) -> Iterator[tuple[bytes, int]]:
    if not len(rows):
        return
    chosen = metric[rows]
    columns = catalog.columns
    field = columns.field[chosen]
    quality, value = readings.quality[rows], readings.value[rows]
    state = ((quality & BAD) != 0).astype(np.uint8)
    state[quality == Quality.BAD_STALE] = 2
    whole = field <= Field.ULONG  # integers can't hold these
    state[(state == 0) & ~np.isfinite(value) & (whole | (field == Field.STRING))] = 1
    texts = _texts(readings, value, field, state) if (field == Field.STRING).any() else None
    datatype = columns.datatype[chosen] if datatypes else np.zeros_like(field)
    data, ends = encode(
        columns.alias[chosen], readings.time_ns[rows] // MS, value, field, datatype, state, texts, historical=historical
    )
    start = first = 0
    while first < len(ends):
        last = max(int(np.searchsorted(ends, start + limit, side="right")), first + 1)
        yield data[start : ends[last - 1]], last - first
        start, first = int(ends[last - 1]), last


def _texts(
    readings: Readings, value: NDArray[np.float64], field: NDArray[np.uint8], state: NDArray[np.uint8]
) -> list[bytes]:
    """The text of each row; only rows of text tags have one. A row whose text is missing becomes bad in `state`."""
    texts = [b""] * len(value)
    for row in np.flatnonzero((field == Field.STRING) & (state == 0)).tolist():
        text = readings.texts.get(int(value[row]))
        if text is None:
            state[row] = 1
        else:
            texts[row] = text.encode(errors="replace")
    return texts
