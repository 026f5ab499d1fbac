"""Building pipelines and rows for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import STEPS, Step, computed, outgoing, problems
from gateway.readings import Readings, Tag, TagTable
from tests.unit.pipeline.reference import Row

SECOND = 1_000_000_000
REAL = Tag("press", "t")


def steps(*items: dict[str, Any]) -> list[Step]:
    return STEPS.validate_python(list(items))


def pipeline(*items: dict[str, Any], tag: Tag = REAL) -> tuple[Pipeline, TagTable]:
    """A pipeline of one tag (number 0) and the tags its steps add."""
    chain = steps(*items)
    assert problems(tag, chain) == []
    table = TagTable([outgoing(tag, chain), *computed(tag, chain)])
    return Pipeline(table, {0: chain}), table


def readings(rows: Sequence[Row], tag: int = 0) -> Readings:
    count = len(rows)
    return Readings(
        np.full(count, tag, np.uint32),
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.uint8),
    )


def rows_of(found: Readings, tag: int = 0) -> list[Row]:
    mine = found.where(found.tag == tag)
    return list(zip(mine.time_ns.tolist(), mine.value.tolist(), mine.quality.tolist(), strict=True))


def good(values: Iterable[float], every_ns: int = SECOND, start_ns: int = 0) -> list[Row]:
    return [(start_ns + number * every_ns, float(value), 0) for number, value in enumerate(values)]


def run(line: Pipeline, rows: Sequence[Row], cuts: Sequence[int] = (), *, flush: bool = True) -> list[Row]:
    """Send rows through in polls cut at these places; what leaves of tag 0."""
    edges = [0, *sorted({min(cut, len(rows)) for cut in cuts}), len(rows)]
    parts = [line.process(readings(rows[a:b])) for a, b in pairwise(edges) if b > a]
    if flush:
        parts.append(line.flush())
    return rows_of(Readings.join(parts))


def same(found: Sequence[Row], wanted: Sequence[Row]) -> bool:
    """Equal rows, NaN being equal to NaN."""
    return [(t, v if v == v else None, q) for t, v, q in found] == [  # noqa: PLR0124
        (t, v if v == v else None, q)  # noqa: PLR0124
        for t, v, q in wanted
    ]
