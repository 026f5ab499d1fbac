"""A polled device: reads in chunks the server allows, on the device's grid."""

from __future__ import annotations

import asyncio

import numpy as np
from asyncua import ua
from asyncua.ua.uaerrors import BadTooManyOperations

from gateway.errors import LinkError
from gateway.field.conversion import Rows
from gateway.field.opcua.feed import Feed
from gateway.field.opcua.session import FOREIGN, Session, in_parts
from gateway.readings import Quality, Readings
from gateway.runtime.ticks import until


async def poll(session: Session, feed: Feed) -> None:
    """Serve a device until cancelled; LinkError when the connection is lost."""
    loop = asyncio.get_running_loop()
    known = [(row, node) for row, tag in enumerate(feed.device.tags) if (node := session.node(tag.address)) is not None]
    rows = np.array([row for row, _ in known], np.intp)
    nodes = [node for _, node in known]
    nowhere = dict.fromkeys(np.setdiff1d(feed.rows(), rows).tolist(), "unknown namespace")
    while True:
        await until(feed.device.grid.due)
        slot = feed.device.take(loop.time())
        feed.refuse(nowhere, feed.context.clock.utc_of(slot))
        refused = dict(nowhere)

        async def read(part: slice, slot: float = slot, refused: dict[int, str] = refused) -> None:
            refused |= await _read(session, feed, rows[part], nodes[part], slot)

        await in_parts(session, "read", len(rows), read)
        feed.name_refused(refused)


async def _read(session: Session, feed: Feed, rows: Rows, nodes: list[ua.NodeId], slot: float) -> dict[int, str]:
    """Read one chunk and hand it on; the rows the server gives no value for, with the reason."""
    loop = asyncio.get_running_loop()
    sent = loop.time()
    try:
        values = await session.read(nodes)
    except BadTooManyOperations:
        raise
    except TimeoutError:
        _silent(feed, rows, slot)
        return {}
    except FOREIGN as error:
        raise LinkError(f"{feed.device.name}: {str(error) or type(error).__name__}") from error
    if len(values) != len(nodes):
        raise LinkError(f"{feed.device.name}: {len(values)} values for {len(nodes)} nodes")
    now = loop.time()
    feed.take(rows, values, feed.context.clock.utc_of((sent + now) / 2), now - sent, confirms=True)
    return {
        row: value.StatusCode.name
        for row, value in zip(rows.tolist(), values, strict=True)
        if value.StatusCode is not None and value.StatusCode.is_bad()
    }


def _silent(feed: Feed, rows: Rows, slot: float) -> None:
    """The server answers nothing in time: whether it is dead, the session's watch finds out."""
    at = feed.context.clock.utc_of(slot)
    feed.device.counters.errors[Quality.BAD_TIMEOUT.reason] += 1
    feed.device.offline(Quality.BAD_TIMEOUT.reason)
    feed.context.port.readings(Readings.failed(feed.device.indices[rows], at, Quality.BAD_TIMEOUT))
