from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.block import Block, BlockId
from gateway.readings import Quality, Readings, Tag, TagTable
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug.catalog import LEFT_ALIAS, Catalog
from gateway.upstream.sparkplug.planner import Names, Planner, Step
from gateway.upstream.sparkplug.proto import decode
from tests.fakes.upstream.delivery import STAMP, event_block

MS = 1_000_000
NOW_MS = 1_732_258_800_000
NOW_NS = NOW_MS * MS
TABLE = TagTable([Tag("a", "x"), Tag("a", "y", "int16"), Tag("b", "x")])


def planner(table: TagTable = TABLE, select: list[str] | None = None) -> Planner:
    made = Planner(Names("g", "n"), Catalog(table, select), Latest(table), "1.0", datatypes=False)
    made.births(0, NOW_NS)
    return made


def rows(*given: tuple[int, int, float, int]) -> Readings:
    """(tag, ms after now, value, quality) each."""
    tag, time_ms, value, quality = zip(*given, strict=True)
    return Readings(
        np.array(tag, np.uint32),
        NOW_NS + np.array(time_ms, np.int64) * MS,
        np.array(value, np.float64),
        np.array(quality, np.uint8),
    )


def block(readings: Readings, table: TagTable = TABLE, sealed_ns: int = NOW_NS) -> Block:
    return Block(BlockId("aaaaaa", 1), table, readings, (), STAMP, sealed_ns)


def planned(made: Planner, one: Block) -> list[Step]:
    steps = made.block(one, 60_000, NOW_NS + 5000 * MS)
    assert steps is not None
    return steps


def shown(steps: list[Step]) -> list[str]:
    return [step.topic.removeprefix("spBv1.0/g/") for step in steps]


def metrics(step: Step) -> list[Any]:
    return list(decode(step.metrics).metrics)


def test_message_flow_nbirth_then_dbirth_of_each_device() -> None:
    births = planner().births(0, NOW_NS)
    assert shown(births) == ["NBIRTH/n", "DBIRTH/n/a", "DBIRTH/n/b"]
    assert {step.time_ms for step in births} == {NOW_MS}


def test_payloads_alias_uniqueness_over_node_and_devices() -> None:
    births = planner().births(0, NOW_NS)
    aliases = [metric.alias for step in births for metric in metrics(step) if metric.HasField("alias")]
    assert len(set(aliases)) == len(aliases)
    assert 0 not in aliases
    assert [metric.alias for metric in metrics(births[1])] == [1, 2]
    rebirth = next(metric for metric in metrics(births[0]) if metric.name == "Node Control/Rebirth")
    assert not rebirth.HasField("alias")


def test_operational_behavior_data_publish_dbirth_order_and_values() -> None:
    made = planner()
    made.latest.update(rows((1, -5, 7, 0), (0, -9, 1.5, 0)))
    birth = metrics(made.births(0, NOW_NS)[1])
    assert [(metric.name, metric.timestamp - NOW_MS) for metric in birth] == [("x", -9), ("y", -5)]
    assert (birth[0].double_value, birth[1].int_value) == (1.5, 7)


def test_replay_is_historical_and_never_shares_a_message_with_live_rows() -> None:
    steps = planned(planner(), block(rows((0, 3, 3, 0), (0, -2, 1, 0), (0, 0, 2, 0), (0, 1, 4, 0))))
    assert shown(steps) == ["DDATA/n/a", "DDATA/n/a"]
    assert [(m.timestamp - NOW_MS, m.double_value, m.is_historical) for m in metrics(steps[0])] == [
        (-2, 1, True),
        (0, 2, True),
    ]
    assert [(m.timestamp - NOW_MS, m.double_value, m.is_historical) for m in metrics(steps[1])] == [
        (1, 4, False),
        (3, 3, False),
    ]


def test_payloads_one_metric_twice_in_a_millisecond_goes_in_two_messages() -> None:
    steps = planned(planner(), block(rows((0, 1, 1, 0), (0, 1, 2, 0), (1, 1, 3, 0))))
    assert [[m.alias for m in metrics(step)] for step in steps] == [[1, 2], [1]]
    assert [metrics(step)[0].double_value for step in steps] == [1, 2]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30))
def test_payloads_no_metric_twice_in_a_millisecond_and_each_in_order(given_rows: list[tuple[int, int]]) -> None:
    made = planner()
    ordered = [(tag, 1 + at, float(number), 0) for number, (tag, at) in enumerate(given_rows)]
    steps = planned(made, block(rows(*ordered)))
    sent: dict[tuple[int, int], list[float]] = {}
    for step in steps:
        keys = [(m.alias, m.timestamp) for m in metrics(step)]
        assert len(set(keys)) == len(keys)
        assert [at for _, at in keys] == sorted(at for _, at in keys)
        for key, metric in zip(keys, metrics(step), strict=True):
            value = metric.int_value if key[0] == 2 else metric.double_value
            sent.setdefault(key, []).append(value)
    wanted: dict[tuple[int, int], list[float]] = {}
    for tag, at, value, _ in ordered:
        wanted.setdefault((tag + 1, NOW_MS + at), []).append(value)
    assert sent == wanted


def test_messages_keep_the_limit() -> None:
    many = rows(*((0, at, at, 0) for at in range(1, 500)))
    steps = planner().block(block(many), 1024, NOW_NS)
    assert steps is not None
    assert len(steps) > 5
    assert max(len(step.metrics) for step in steps) <= 1024
    assert [m.double_value for step in steps for m in metrics(step)] == list(range(1, 500))
    assert sum(step.readings for step in steps) == 499


def test_select_keeps_tags_in_the_plant() -> None:
    made = planner(select=["a.*", "!a.y"])
    assert shown(made.births(0, NOW_NS)) == ["NBIRTH/n", "DBIRTH/n/a"]
    steps = planned(made, block(rows((0, 1, 1, 0), (1, 1, 2, 0), (2, 1, 3, 0))))
    assert [[m.alias for m in metrics(step)] for step in steps] == [[1]]


def test_operational_behavior_device_ddeath_stands_behind_the_rows_before_it_and_for_the_bad_ones_after() -> None:
    made = planner()
    made.links.changed("a", NOW_NS + 10 * MS, online=False, since_ns=NOW_NS + 5 * MS)
    early = planned(made, block(rows((0, 1, 1, 0)), sealed_ns=NOW_NS + 2 * MS))
    assert shown(early) == ["DDATA/n/a"]
    bad = int(Quality.BAD_TIMEOUT)
    late = planned(made, block(rows((0, 4, 2, 0), (0, 6, np.nan, bad), (2, 6, 5, 0)), sealed_ns=NOW_NS + 20 * MS))
    assert shown(late) == ["DDATA/n/a", "DDEATH/n/a", "DDATA/n/b"]
    assert [m.double_value for m in metrics(late[0])] == [2]
    assert planned(made, block(rows((0, 30, np.nan, bad)), sealed_ns=NOW_NS + 40 * MS)) == []


def test_payloads_dbirth_follows_when_the_link_is_back() -> None:
    made = planner()
    made.links.changed("a", NOW_NS, online=False, since_ns=NOW_NS)
    assert shown(made.changes(NOW_NS, NOW_NS)) == ["DDEATH/n/a"]
    made.links.changed("a", NOW_NS + 50 * MS, online=True, since_ns=NOW_NS + 45 * MS)
    bad = int(Quality.BAD_LINK)
    steps = planned(made, block(rows((0, 44, np.nan, bad), (0, 6000, 2, 0)), sealed_ns=NOW_NS + 60 * MS))
    assert shown(steps) == ["DBIRTH/n/a", "DDATA/n/a"]
    assert made.changes(NOW_NS + 90 * MS, NOW_NS) == []


def test_payloads_dbirth_of_the_only_device_follows_its_ddeath() -> None:
    made = planner(select=["a.*"])
    made.links.changed("a", NOW_NS, online=False, since_ns=NOW_NS)
    assert shown(made.changes(NOW_NS, NOW_NS)) == ["DDEATH/n/a"]
    made.links.changed("a", NOW_NS + 50 * MS, online=True, since_ns=NOW_NS + 45 * MS)
    assert shown(made.changes(NOW_NS + 50 * MS, NOW_NS)) == ["DBIRTH/n/a"]


def test_payloads_ddeath_of_a_device_that_is_down_follows_its_birth_and_its_spooled_rows() -> None:
    made = planner()
    made.links.changed("a", NOW_NS, online=False, since_ns=NOW_NS)
    made.links.forget()
    births = made.births(1, NOW_NS + 100 * MS)
    assert all(metric.is_null for metric in metrics(births[1]))
    assert shown(planned(made, block(rows((0, -5, 1, 0))))) == ["DDATA/n/a"]
    assert shown(made.changes(NOW_NS + 200 * MS, NOW_NS)) == ["DDEATH/n/a"]


def test_rows_a_dead_device_left_behind_are_not_lost() -> None:
    made = planner()
    made.links.changed("a", NOW_NS, online=False, since_ns=NOW_NS)
    made.changes(NOW_NS, NOW_NS)
    assert shown(planned(made, block(rows((0, -5, 1, 0))))) == ["DBIRTH/n/a", "DDATA/n/a"]
    assert shown(made.changes(NOW_NS + 10_000 * MS, NOW_NS)) == ["DDEATH/n/a"]


def test_a_block_of_an_older_configuration_needs_births_with_its_metrics_as_null() -> None:
    older = TagTable([Tag("gone", "z"), Tag("b", "x"), Tag("a", "y", "float32")])
    made = planner()
    one = block(rows((0, 1, 1, 0), (1, 1, 2, 0), (2, 1, 3, 0)), older)
    assert made.block(one, 60_000, NOW_NS) is None
    births = made.births(0, NOW_NS)
    assert shown(births) == ["NBIRTH/n", "DBIRTH/n/a", "DBIRTH/n/b", "DBIRTH/n/gone"]
    assert [m.is_null for m in metrics(births[3])] == [True]
    assert sorted(m.name for m in metrics(births[1])) == ["x", "y", "y/as float32"]
    steps = planned(made, one)
    sent = {m.alias for step in steps for m in metrics(step)}
    assert sent == {LEFT_ALIAS, 3, LEFT_ALIAS + 1}
    made.catalog.forget_left()
    assert shown(made.births(0, NOW_NS)) == ["NBIRTH/n", "DBIRTH/n/a", "DBIRTH/n/b"]


def test_an_event_is_a_text_of_the_node() -> None:
    made = planner()
    live = b'{"time":%d,"event":"write"}' % (NOW_MS + 1)
    old = b'{"time":%d,"event":"loss"}' % (NOW_MS - 1)
    steps = planned(made, event_block(1, live, old))
    assert shown(steps) == ["NDATA/n", "NDATA/n"]
    assert [metrics(step)[0].string_value for step in steps] == [live.decode(), old.decode()]
    assert [metrics(step)[0].is_historical for step in steps] == [False, True]
    event = next(m for m in metrics(made.births(0, NOW_NS + 5 * MS)[0]) if m.name == "Gateway/Event")
    assert event.string_value == live.decode()


def test_a_longer_table_keeps_the_aliases_and_is_born_first() -> None:
    made = planner()
    grown = TABLE.grown([*(replace(tag) for tag in TABLE), Tag("c", "z")])
    made.latest.use_table(grown)
    made.use_table(grown)
    assert made.block(block(rows((0, 1, 1, 0))), 60_000, NOW_NS) is None
    assert made.changes(NOW_NS, NOW_NS) == []
    births = made.births(0, NOW_NS)
    assert shown(births)[-1] == "DBIRTH/n/c"
    assert [m.alias for m in metrics(births[1])] == [1, 2]
