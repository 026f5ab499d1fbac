"""The gap of an outage from the server's history, where it keeps one. Readings keep their source time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from asyncua import ua

from gateway.field.conversion import Rows
from gateway.field.opcua.columns import EPOCH, chunks
from gateway.field.opcua.feed import Feed
from gateway.field.opcua.session import Session, translated

PER_NODE: Final = 1000  # values of one node in one answer
PER_CALL: Final = 50  # nodes in one call: an answer stays below some hundred thousand values

AHEAD: Final = timedelta(hours=1)

log = logging.getLogger(__name__)


async def fill(session: Session, feed: Feed, within_s: float) -> None:
    """Hand on what happened since each row's newest reading; nothing where there is none yet.

    Ends after `within_s` at the latest: what is missing then stays for the next call, since rows remember how far
    they got. A node without history is left out and named in the log once per outage.
    """
    rows = np.flatnonzero(feed.decoder.newest_ns)
    until = datetime.now(UTC) + AHEAD  # a server's clock may be ahead of ours
    refused: dict[int, str] = {}
    deadline = asyncio.get_running_loop().time() + within_s
    size = min(session.limits["history"], PER_CALL)
    for part in chunks(len(rows), size):
        await _fill(session, feed, rows[part], until, deadline, refused)
    if refused:
        log.info("%s: no history for %d tags: %s", feed.device.name, len(refused), ", ".join(set(refused.values())))


async def _fill(
    session: Session, feed: Feed, rows: Rows, until: datetime, deadline: float, refused: dict[int, str]
) -> None:
    """Fill some rows, page by page; every page starts behind the newest value there is."""
    loop = asyncio.get_running_loop()
    while len(rows) and loop.time() < deadline:
        oldest = int(feed.decoder.newest_ns[rows].min())
        since = EPOCH + timedelta(microseconds=oldest // 1000 + 1)
        if since >= until:
            return
        more = []
        for row, result in zip(rows.tolist(), await _page(session, feed, rows, since, until), strict=True):
            if result is None:
                continue
            values = _values(result)
            if not result.StatusCode.is_good():
                refused[row] = result.StatusCode.name
                continue
            newest = int(feed.decoder.newest_ns[row])
            fresh = [value for value in values if value.SourceTimestamp and _ns(value.SourceTimestamp) > newest]
            if fresh:
                feed.take(np.full(len(fresh), row, np.intp), fresh, feed.context.clock.now_ns(), past=True)
            if fresh and len(values) >= PER_NODE:
                more.append(row)
        rows = np.array(more, np.intp)


async def _page(
    session: Session, feed: Feed, rows: Rows, since: datetime, until: datetime
) -> list[ua.HistoryReadResult | None]:
    nodes = [session.node(feed.device.tags[row].address) for row in rows.tolist()]
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False, StartTime=since, EndTime=until, NumValuesPerNode=PER_NODE, ReturnBounds=False
    )
    parameters = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=False,
        NodesToRead=[ua.HistoryReadValueId(NodeId=node, IndexRange="") for node in nodes if node is not None],
    )
    with translated("reading history"):
        results = iter(await session.services.history_read(parameters))
    return [None if node is None else next(results, None) for node in nodes]


def _values(result: ua.HistoryReadResult) -> list[ua.DataValue]:
    data = result.HistoryData
    return list(data.DataValues) if isinstance(data, ua.HistoryData) else []


def _ns(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000
