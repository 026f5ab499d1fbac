from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.pipeline.cache import KernelCache
from gateway.pipeline.engine import Pipeline
from gateway.pipeline.settings import Step, computed
from gateway.pipeline.warm import compiled_functions, warm
from gateway.readings import Readings, Tag, TagTable
from tests.unit.pipeline.hostile import hostile_rows, noisy_rows
from tests.unit.pipeline.reference import Row, centred
from tests.unit.pipeline.rows import SECOND, good, pipeline, readings, rows_of, run, same, steps

CHAINS: list[list[dict[str, Any]]] = [
    [],
    [{"deadband": {"absolute": 0.5}}],
    [{"on-change": {}}],
    [{"swinging-door": {"deviation": 0.5, "max_interval": "1m"}}],
    [{"spike": {}}, {"swinging-door": {"deviation": 0.5}}],
    [{"median": {"window": 3}}, {"smooth": {"time_constant": "2s"}}, {"deadband": {"absolute": 0.2}}],
    [{"smooth": {"time_constant": "2s"}}, {"median": {"window": 5}}],
    [{"counter": {"bits": 16}}, {"rate": {"per": "1s"}}, {"swinging-door": {"deviation": "auto"}}],
    [{"aggregate": {"every": "10s", "compute": ["mean", "count"]}}, {"on-change": {}}],
    [{"anomaly": {}}, {"aggregate": {"every": "7s", "compute": ["max"], "raw": False}}],
    [{"vibration": {"window": 16}}, {"deadband": {"absolute": 1}}],
]


def house(chains: list[list[dict[str, Any]]]) -> tuple[TagTable, dict[int, list[Step]]]:
    tags: list[Tag] = []
    added: list[Tag] = []
    lists: dict[int, list[Step]] = {}
    for number, items in enumerate(chains):
        tag = Tag("press", f"t{number}")
        lists[number] = steps(*items)
        tags.append(tag)
        added += computed(tag, lists[number])
    return TagTable([*tags, *added]), lists


def mixed(parts: list[list[Row]], seed: int, edge: float) -> list[Readings]:
    """The rows of several tags, each tag's in order, in polls of any mix."""
    random = np.random.default_rng(seed)
    queue = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    random.shuffle(queue)
    heads = [iter(part) for part in parts]
    rows = [(int(tag), *next(heads[tag])) for tag in queue]
    polls: list[list[tuple[int, int, float, int]]] = [[]]
    for row in rows:
        if random.random() < edge:
            polls.append([])
        polls[-1].append(row)
    return [
        Readings(
            np.array([row[0] for row in poll], np.uint32),
            np.array([row[1] for row in poll], np.int64),
            np.array([row[2] for row in poll], np.float64),
            np.array([row[3] for row in poll], np.uint8),
        )
        for poll in polls
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(hostile_rows(40), min_size=len(CHAINS), max_size=len(CHAINS)), st.integers(0, 999))
def test_a_tag_does_not_notice_the_others(parts: list[list[Row]], seed: int) -> None:
    table, lists = house(CHAINS)
    together = Pipeline(table, lists)
    found = Readings.join([*(together.process(poll) for poll in mixed(parts, seed, 0.1)), together.flush()])
    for number, rows in enumerate(parts):
        alone = Pipeline(table, {number: lists[number]})
        wanted = Readings.join([alone.process(readings(rows, number)), alone.flush()])
        for tag in {number, *wanted.tag.tolist()}:
            assert same(rows_of(found, tag), rows_of(wanted, tag)), (CHAINS[number], table[tag].name)


def test_a_reload_keeps_the_state_of_tags_that_did_not_change() -> None:
    parts = [noisy_rows(seed) for seed in range(len(CHAINS))]
    table, lists = house(CHAINS)
    polls = mixed(parts, 1, 0.05)
    middle = len(polls) // 2
    straight, reloaded = Pipeline(table, lists), Pipeline(table, lists)
    wanted = Readings.join([*(straight.process(poll) for poll in polls), straight.flush()])

    changed, gone = 3, 4
    tags = [tag for number, tag in enumerate(table) if number != gone]
    tags.append(Tag("press", "fresh"))
    grown = table.grown(tags)
    later_lists = {number: chain for number, chain in lists.items() if number != gone}
    later_lists[changed] = steps({"deadband": {"absolute": 0.1}})
    later_lists[grown.index("press.fresh")] = steps({"spike": {"window": 11}}, {"on-change": {}})
    before = [reloaded.process(poll) for poll in polls[:middle]]
    later = Pipeline(grown, later_lists)
    pending = later.adopt(reloaded)
    found = Readings.join([*before, pending, *(later.process(poll) for poll in polls[middle:]), later.flush()])

    assert set(pending.tag.tolist()) <= {changed, gone}
    last = [rows_of(Readings.join(polls[:middle]), tag)[-1] for tag in (changed, gone)]
    assert [rows_of(pending, tag)[-1] for tag in (changed, gone)] == last
    touched = {changed, gone}
    for tag in set(range(len(table))) - touched:
        assert same(rows_of(found, tag), rows_of(wanted, tag)), table[tag].name


def test_a_tag_whose_range_or_unit_changed_starts_anew() -> None:
    table, lists = house([[{"swinging-door": {"deviation": 0.5}}]])
    line = Pipeline(table, lists)
    line.process(readings(good([1.0] * 5)))
    grown = table.grown([Tag("press", "t0", unit="bar")])
    assert grown[0].retired
    pending = Pipeline(grown, {1: lists[0]}).adopt(line)
    assert rows_of(pending) == [(4 * SECOND, 1.0, 0)]


def test_steps_run_in_the_order_they_are_written() -> None:
    rows = good([0.0, 10.0, 0.0, 10.0, 0.0, 10.0, 0.0])
    median: dict[str, Any] = {"median": {"window": 3}}
    smooth: dict[str, Any] = {"smooth": {"time_constant": "1s"}}
    one, other = (run(pipeline(*chain)[0], rows) for chain in ((median, smooth), (smooth, median)))
    assert [row[1] for row in one] != [row[1] for row in other]


def test_the_same_kind_may_stand_twice() -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    once = run(pipeline({"median": {"window": 3}})[0], good(values))
    twice = run(pipeline({"median": {"window": 3}}, {"median": {"window": 3}})[0], good(values))
    assert [row[1] for row in twice] == [row[1] for row in run(pipeline({"median": {"window": 3}})[0], once)]


def test_a_list_of_any_length_is_run_whole() -> None:
    median: dict[str, Any] = {"median": {"window": 3}}
    rows = wanted = good(np.random.default_rng(1).normal(size=20).tolist())
    for _ in range(70):
        wanted = centred(wanted, 3)
    assert run(pipeline(*[median] * 70)[0], rows) == wanted


def test_what_waits_in_front_goes_through_the_steps_behind() -> None:
    line, _ = pipeline({"spike": {"window": 5}}, {"deadband": {"absolute": 1}})
    assert rows_of(line.process(readings(good([0.0, 0.0, 5.0, 9.0])))) == [(0, 0.0, 0)]
    assert [row[1] for row in rows_of(line.flush())] == [5.0, 9.0]


def test_a_flush_of_some_tags_leaves_the_others_alone() -> None:
    table, lists = house([[{"swinging-door": {"deviation": 0.5}}]] * 3)
    line = Pipeline(table, lists)
    for number in range(3):
        line.process(readings(good([1.0] * 5), number))
    assert line.flush(np.array([1], np.uint32)).tag.tolist() == [1]
    assert line.flush().tag.tolist() == [0, 2]


def test_tags_without_steps_pass_untouched() -> None:
    table = TagTable([Tag("press", "a")])
    poll = readings([(0, 1.0, 0), (0, math.nan, 0x81), (-5, math.nan, 0x81)])
    assert Pipeline(table, {}).process(poll) is poll
    assert Pipeline(table, {0: []}).process(poll) is poll


def test_texts_travel_along() -> None:
    table = TagTable([Tag("press", "a", "string")])
    line = Pipeline(table, {0: steps({"on-change": {}})})
    poll = replace(readings(good([5.0, 5.0])), texts={5: "run"})
    assert line.process(poll).texts == {5: "run"}


def test_observers_see_what_goes_into_the_lossy_steps_and_what_leaves() -> None:
    seen: list[Readings] = []
    left: list[Readings] = []
    table, lists = house([[{"anomaly": {}}, {"swinging-door": {"deviation": 0.5}}]])
    line = Pipeline(table, lists, before=seen.append, after=left.append)
    kept = line.process(readings(good([0.0] * 10)))
    assert len(rows_of(Readings.join(seen))) == 10
    assert len(rows_of(Readings.join(seen), table.index("press.t0.anomaly"))) == 10
    assert left == [kept]
    assert left[-1] is not line.flush()
    assert rows_of(left[-1]) == [(9 * SECOND, 0.0, 0)]
    assert len(rows_of(Readings.join(seen))) == 10


def test_a_dead_anomaly_tag_is_quiet_too() -> None:
    line, table = pipeline({"anomaly": {}}, {"on-change": {}})
    line.process(readings(good([0.0])))
    dead = [(number * SECOND, math.nan, 0x81) for number in range(1, 100)]
    found = line.process(readings(dead))
    assert [row[0] // SECOND for row in rows_of(found, table.index("press.t.anomaly"))] == [1, 61]


def test_an_unknown_tag_and_uneven_columns_are_refused() -> None:
    line, _ = pipeline({"on-change": {}})
    with pytest.raises(IndexError):
        line.process(readings(good([1.0]), tag=1))
    poll = readings(good([1.0, 2.0]))
    with pytest.raises(ValueError, match="length"):
        line.process(Readings(poll.tag, poll.time_ns[:1], poll.value, poll.quality))


def odd_polls() -> list[Readings]:
    """The same two rows in every layout that may come along."""
    plain = readings([(5 * SECOND, 1.0, 0), (6 * SECOND, 9.0, 0)])
    columns: list[NDArray[Any]] = [plain.tag, plain.time_ns, plain.value, plain.quality]
    read_only = [column.copy() for column in columns]
    for column in read_only:
        column.setflags(write=False)
    strided = [np.column_stack([column, column])[:, 0] for column in columns]
    swapped = [column.astype(column.dtype.newbyteorder(">")) for column in columns]
    wide = [column.astype(np.int64) for column in columns]
    return [Readings(*form) for form in ([*columns], read_only, strided, swapped, wide)]


@pytest.mark.parametrize("chain", CHAINS[1:], ids=lambda chain: next(iter(chain[0])))
def test_every_layout_of_columns_is_taken_and_left_unchanged(chain: list[dict[str, Any]]) -> None:
    results = []
    for poll in odd_polls():
        before = [np.array(column) for column in (poll.tag, poll.time_ns, poll.value, poll.quality)]
        line, _ = pipeline(*chain)
        results.append(run_poll(line, poll))
        for column, copy in zip((poll.tag, poll.time_ns, poll.value, poll.quality), before, strict=True):
            np.testing.assert_array_equal(column, copy)
    assert all(same(result, results[0]) for result in results)


def run_poll(line: Pipeline, poll: Readings) -> list[Row]:
    return rows_of(Readings.join([line.process(poll), line.flush()]))


def test_nothing_is_compiled_after_the_warm_up() -> None:
    report = warm(KernelCache(None))
    assert report.kernels >= 20
    ready = {name: list(function.signatures) for name, function in compiled_functions().items()}
    assert sum(map(bool, ready.values())) >= 14  # the others are part of these
    table, lists = house(CHAINS)
    line = Pipeline(table, lists)
    for poll in mixed([noisy_rows(seed) for seed in range(len(CHAINS))], 1, 0.05):
        line.process(poll)
        line.tick(int(poll.time_ns[-1]))
    for poll in [*odd_polls(), Readings.empty(), readings(good([1.0])).where(slice(0, 0))]:
        line.process(poll)
    later = Pipeline(table, lists | {1: steps({"deadband": {"absolute": 9}})})
    later.adopt(line)
    line = later
    line.flush(np.array([0, 3, 5], np.uint32))
    line.flush()
    assert {name: list(function.signatures) for name, function in compiled_functions().items()} == ready


def test_checking_a_configuration_does_not_load_numba() -> None:
    code = "import gateway.pipeline.settings, gateway.pipeline.warm, sys; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
