"""Probes an OPC UA connection: each node in a call of its own, then all of them together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np
from asyncua import ua

from gateway.field.contract import BusPlan
from gateway.field.conversion import Conversion
from gateway.field.opcua.session import Session, open_session, translated
from gateway.readings import Quality, Readings, Tag
from gateway.tools.probe_report import Probed, Sight, refused, sight
from gateway.tools.progress import tell

_ONE: Final = np.zeros(1, np.intp)


async def probe_opcua(plan: BusPlan) -> list[Probed]:
    """Every tag of the connection, in engineering units. LinkError where the session breaks."""
    tags = [
        tag
        for device, settings in plan.connection.devices.items()
        for name, entry in settings.tags.items()
        for tag in entry.expand(device, name)
    ]
    async with open_session(plan.connection) as session:
        tell(f"{plan.name}: {len(tags)} single reads")
        singles = [(await _read(session, [tag]))[0] for tag in tags]
        tell(f"{plan.name}: all together")
        size = session.limits["read"]
        together: list[Sight] = []
        for start in range(0, len(tags), size):
            together += await _read(session, tags[start : start + size])
        found = []
        for tag, single, block in zip(tags, singles, together, strict=True):
            first = Probed(tag, single, block)
            again = (await _read(session, [tag]))[0] if first.difference else None
            found.append(Probed(tag, single, block, again))
    return found


async def _read(session: Session, tags: Sequence[Tag]) -> list[Sight]:
    nodes = [session.node(tag.address) for tag in tags]
    known = [node for node in nodes if node is not None]
    began = time.monotonic()
    with translated("reading"):
        answers = iter(await session.read(known) if known else [])
    seconds = time.monotonic() - began
    return [
        refused(Quality.BAD_EXCEPTION, seconds, "unknown namespace")
        if node is None
        else _sight(tag, next(answers), seconds)
        for tag, node in zip(tags, nodes, strict=True)
    ]


def _sight(tag: Tag, answer: ua.DataValue, seconds: float) -> Sight:
    status = answer.StatusCode
    if status is not None and not status.is_good():
        return refused(Quality.BAD_EXCEPTION, seconds, status.name)
    value = None if answer.Value is None else answer.Value.Value
    if isinstance(value, str):
        return Sight(value, "good", seconds)
    if isinstance(value, (bool, int, float)):
        converted, quality = Conversion([tag]).apply(_ONE, np.array([value], np.float64), np.zeros(1, np.uint8))
        reading = Readings(np.zeros(1, np.uint32), np.zeros(1, np.int64), converted, quality)
        return sight(reading, 0, seconds)
    return refused(Quality.BAD_DECODE, seconds, f"no number and no text: {type(value).__name__}")
