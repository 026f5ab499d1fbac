"""The gap of an outage from the server's history, where it keeps one. Readings keep their source time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from gateway.errors import LinkError
from gateway.field.conversion import Rows
from gateway.field.opcua.columns import EPOCH, chunks
from gateway.field.opcua.feed import Feed
from gateway.field.opcua.session import FOREIGN, Session

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
    """Fill some rows, page by page: by continuation points, and by time with servers that cut off without one."""
    loop = asyncio.get_running_loop()
    points: dict[int, bytes | None] = dict.fromkeys(rows.tolist())
    while points:
        since = EPOCH + timedelta(microseconds=int(feed.decoder.newest_ns[list(points)].min()) // 1000 + 1)
        if since >= until:  # a server reads backwards then
            return
        cut: dict[int, bytes | None] = {}
        while points:
            try:
                pages = await _pages(session, feed, points, since, until, release=loop.time() >= deadline)
            except (UaStatusCodeError, TimeoutError) as error:  # the server has no history, or is too slow with it
                refused.update(dict.fromkeys(points, str(error) or "no answer in time"))
                return
            if loop.time() >= deadline:
                return
            points = {}
            for row, page in pages.items():
                values = _values(page)
                if not page.StatusCode.is_good():
                    refused[row] = page.StatusCode.name
                elif _take(feed, row, values) and not page.ContinuationPoint and len(values) >= PER_NODE:
                    cut[row] = None
                elif page.ContinuationPoint:
                    points[row] = page.ContinuationPoint
        points = cut


def _take(feed: Feed, row: int, values: list[ua.DataValue]) -> bool:
    """Hand on what is newer than the row's newest reading; whether there was anything."""
    newest = int(feed.decoder.newest_ns[row])
    fresh = [value for value in values if value.SourceTimestamp and _ns(value.SourceTimestamp) > newest]
    if fresh:
        feed.take(np.full(len(fresh), row, np.intp), fresh, feed.context.clock.now_ns(), past=True)
    return bool(fresh)


async def _pages(
    session: Session, feed: Feed, points: dict[int, bytes | None], since: datetime, until: datetime, *, release: bool
) -> dict[int, ua.HistoryReadResult]:
    """One page of each row. `release`: none is wanted, the server may forget how far it got."""
    nodes = {row: node for row in points if (node := session.node(feed.device.tags[row].address)) is not None}
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False, StartTime=since, EndTime=until, NumValuesPerNode=PER_NODE, ReturnBounds=False
    )
    parameters = ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=release,
        NodesToRead=[
            ua.HistoryReadValueId(NodeId=node, IndexRange="", ContinuationPoint=points[row])
            for row, node in nodes.items()
        ],
    )
    if not nodes:
        return {}
    try:
        return dict(zip(nodes, await session.services.history_read(parameters), strict=True))
    except (UaStatusCodeError, TimeoutError):
        raise
    except FOREIGN as error:
        raise LinkError(f"reading history: {str(error) or type(error).__name__}") from error


def _values(result: ua.HistoryReadResult) -> list[ua.DataValue]:
    data = result.HistoryData
    return list(data.DataValues) if isinstance(data, ua.HistoryData) else []


def _ns(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1) * 1000
