"""A node of 10,000 tags: what grows with the square of anything would not end in time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.block import Block, BlockId
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.planner import Names, Planner
from gateway.upstream.sparkplug.proto import decode
from tests.fakes.upstream.delivery import STAMP

TAGS = 10_000
NOW_MS = 1_732_258_800_000


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A bound ten times what it takes on a busy machine."""
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def table(prefix: str) -> TagTable:
    return TagTable(Tag(f"{prefix}{tag // 100}", f"t{tag % 100}", unit="degC") for tag in range(TAGS))


def block(of: TagTable, readings: Readings) -> Block:
    return Block(BlockId("aaaaaa", 1), of, readings, (), STAMP, NOW_MS * 1_000_000)


def rows(tag: NDArray[np.uint32], time_ms: int) -> Readings:
    count = len(tag)
    times, quality = np.full(count, time_ms * 1_000_000, np.int64), np.full(count, Quality.GOOD, np.uint8)
    return Readings(tag, times, np.arange(count, dtype=np.float64), quality)


@pytest.fixture
def planner() -> Planner:
    live = table("d")
    made = Planner(Names("g", "n"), Catalog(live, None), Latest(live), "1.0", datatypes=False)
    made.births(0, NOW_MS * 1_000_000)
    return made


def test_births_and_a_block_of_all_tags(planner: Planner) -> None:
    readings = rows(np.arange(TAGS, dtype=np.uint32), NOW_MS + 5)
    planner.latest.update(readings)
    tracemalloc.start()
    with within(20.0):
        births = planner.births(0, (NOW_MS + 1) * 1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(births) == 101
    assert most < 20e6
    with within(5.0):
        steps = planner.block(block(planner.catalog.table, readings), 65_536, (NOW_MS + 6) * 1_000_000)
    assert steps is not None
    assert sum(step.readings for step in steps) == TAGS


def test_a_block_of_another_configuration_with_as_many_tags(planner: Planner) -> None:
    older = block(table("old"), rows(np.arange(TAGS, dtype=np.uint32), NOW_MS - 5))
    with within(5.0):
        assert planner.block(older, 65_536, NOW_MS * 1_000_000) is None
        births = planner.births(0, NOW_MS * 1_000_000)
        steps = planner.block(older, 65_536, NOW_MS * 1_000_000)
    assert len(births) == 201
    assert steps is not None
    assert sum(step.readings for step in steps) == TAGS


def test_many_readings_of_one_tag_in_one_millisecond(planner: Planner) -> None:
    readings = rows(np.repeat(np.array([3, 5], np.uint32), (4000, 1)), NOW_MS + 5)
    with within(5.0):
        steps = planner.block(block(planner.catalog.table, readings), 65_536, (NOW_MS + 6) * 1_000_000)
    assert steps is not None
    assert len(steps) == 4000
    assert [len(decode(step.metrics).metrics) for step in steps[:2]] == [2, 1]
    values = [decode(step.metrics).metrics[0].double_value for step in steps]
    assert values == sorted(values)
