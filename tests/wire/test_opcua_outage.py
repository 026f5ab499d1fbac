"""OPC UA servers that restart, refuse, freeze and lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.field.opcua.settings import OpcuaConnection
from gateway.readings import Quality
from tests.fakes.opcua import OpcuaServer, ServerProcess, limited, nodes, reading_at_most, running, serving
from tests.fakes.port import plan_of, settings_of


async def test_all_items_come_back_after_a_restart_of_a_server_with_a_low_limit() -> None:
    names = [f"v{number}" for number in range(250)]
    server = OpcuaServer(dict.fromkeys(names, 1.0), items_per_call=100)
    async with limited(server):
        await server.start()
        try:
            async with running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes(*names)}}) as (_, port):
                await port.wait(lambda: len({row.tag for row in port.rows if row.value == 1.0}) == 250)
                assert server.calls == [100, 100, 50]
                await server.stop()
                await port.wait(lambda: len({row.tag for row in port.rows if row.quality == Quality.BAD_LINK}) == 250)
                server.variables = dict.fromkeys(names, 2.0)
                await server.start()
                await port.wait(lambda: len({row.tag for row in port.rows if row.value == 2.0}) == 250, 30)
                assert port.links == [("plc", True, ""), ("plc", False, "link"), ("plc", True, "")]
                for name in ("plc.v0", "plc.v249"):
                    times = [row.time_ns for row in port.of(name)]
                    assert times == sorted(times), "a good reading after an outage must not be older than the outage"
        finally:
            await server.stop()


async def test_a_server_that_is_not_there_yet_is_found_later() -> None:
    server = OpcuaServer({"a": 4.0})
    async with running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes("a")}}) as (_, port):
        await port.wait(lambda: len(port.of("plc.a")) >= 2)
        assert port.qualities("plc.a") == {Quality.BAD_LINK}
        async with serving(server):
            await port.wait(lambda: port.values("plc.a") == [4.0])


async def test_one_refused_node_costs_only_itself() -> None:
    async with serving(OpcuaServer({"a": 1.0, "b": 2.0})) as server:
        for mode in ("subscribe", "poll"):
            tags = {**nodes("a", "b"), "gone": {"node": "ns=2;s=nowhere"}, "far": {"node": "nsu=urn:nobody;i=1"}}
            device = {"mode": mode, "publish": "50ms", "tags": tags}
            async with running(server.endpoint, {"plc": device}) as (_, port):
                await port.wait(lambda port=port: bool(port.values("plc.a") and port.values("plc.b")))  # type: ignore[misc]
                await port.wait(lambda port=port: bool(port.of("plc.gone") and port.of("plc.far")))  # type: ignore[misc]
                assert port.qualities("plc.gone") == port.qualities("plc.far") == {Quality.BAD_EXCEPTION}
                assert port.qualities("plc.a") == port.qualities("plc.b") == {Quality.GOOD}


async def test_a_refused_node_is_tried_again() -> None:
    async with serving(OpcuaServer({"a": 1.0})) as server:
        tags = {**nodes("a"), "late": {"node": "ns=2;s=late"}}
        async with running(server.endpoint, {"plc": {"mode": "poll", "tags": tags}}) as (_, port):
            await port.wait(lambda: port.qualities("plc.late") == {Quality.BAD_EXCEPTION})
            await server.add("late", 7.0)
            await port.wait(lambda: 7.0 in port.values("plc.late"))


async def test_polls_find_a_limit_the_server_does_not_tell() -> None:
    names = [f"v{number}" for number in range(120)]
    calls: list[int] = []
    async with (
        serving(OpcuaServer(dict.fromkeys(names, 1.0))) as server,
        reading_at_most(50, calls),
        running(server.endpoint, {"plc": {"mode": "poll", "tags": nodes(*names)}}) as (_, port),
    ):
        await port.wait(lambda: len(port.values("plc.v119")) >= 2)
    first = calls.index(120)
    assert calls[first : first + 6] == [120, 60, 30, 30, 30, 30]
    assert port.qualities("plc.v0") == {Quality.GOOD}


async def test_subscriptions_find_a_limit_the_server_does_not_tell() -> None:
    server = OpcuaServer(dict.fromkeys([f"v{number}" for number in range(120)], 1.0))
    server.secret_limit = 50
    async with (
        limited(server),
        serving(server),
        running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes(*server.variables)}}) as (_, port),
    ):
        await port.wait(lambda: len({row.tag for row in port.rows if row.value == 1.0}) == 120)
    assert server.calls == [120, 60, 30, 30, 30, 30]


async def test_a_subscription_that_dies_alone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.field.opcua.subscribe.KEEP_ALIVE_S", 0.3)
    async with (
        serving(OpcuaServer({"a": 1.0})) as server,
        running(server.endpoint, {"plc": {"publish": "100ms", "tags": nodes("a")}}) as (_, port),
    ):
        await port.wait(lambda: bool(port.values("plc.a")))
        for subscription in server.server.iserver.subscription_service.subscriptions.values():
            await subscription.stop()
        await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.a"))
        await port.wait(lambda: len(port.values("plc.a")) >= 2)


async def test_a_refused_node_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    tags = {**nodes("a"), "gone": {"node": "ns=2;s=nowhere"}, "far": {"node": "nsu=urn:nobody;i=1"}}
    async with (
        serving(OpcuaServer({"a": 1.0})) as server,
        running(server.endpoint, {"plc": {"mode": "poll", "tags": tags}}) as (_, port),
    ):
        await port.wait(lambda: len(port.of("plc.gone")) >= 5)
    lines = [record.message for record in caplog.records if "refused by the server" in record.message]
    assert len(lines) == 1
    assert "plc.gone (ns=2;s=nowhere: BadNodeIdUnknown)" in lines[0]
    assert "plc.far (nsu=urn:nobody;i=1: unknown namespace)" in lines[0]


async def test_values_the_server_dropped_are_reported_and_the_newest_is_kept() -> None:
    async with (
        serving(OpcuaServer({"a": 1.0})) as server,
        running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes("a")}}) as (_, port),
    ):
        await port.wait(lambda: bool(port.values("plc.a")))
        await server.set("a", 5.0, status=0x480)
        await port.wait(lambda: bool(port.losses))
    assert port.values("plc.a")[-1] == 5.0
    (loss,) = port.losses
    assert (loss.reason, loss.tags.tolist(), loss.count) == ("overflow", [0], 1)
    assert loss.from_ns < loss.to_ns


async def test_status_codes_become_qualities() -> None:
    async with (
        serving(OpcuaServer({"a": 1.0})) as server,
        running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes("a")}}, every=0.0) as (_, port),
    ):
        await port.wait(lambda: bool(port.values("plc.a")))
        await server.set("a", 2.0, status=0x80320000)
        await server.set("a", 3.0, status=0x40900000)
        await server.set("a", 4.0, status=0x40930000)
        await port.wait(lambda: len(port.of("plc.a")) == 4)
    assert [(row.value, row.quality) for row in port.of("plc.a")[1:]] == [
        (None, Quality.BAD_EXCEPTION),
        (3.0, Quality.UNCERTAIN_STALE),
        (4.0, Quality.UNCERTAIN_PRECISION),
    ]


async def test_an_absurd_source_time_is_passed_over_and_marked() -> None:
    async with (
        serving(OpcuaServer({"a": 1.0})) as server,
        running(server.endpoint, {"plc": {"publish": "50ms", "tags": nodes("a")}}, every=0.0) as (_, port),
    ):
        await port.wait(lambda: bool(port.values("plc.a")))
        before = datetime.now(UTC) - timedelta(seconds=5)
        for value, year in ((2.0, 9999), (3.0, 1601), (4.0, 1970)):
            await server.set("a", value, source=datetime(year, 1, 2, tzinfo=UTC))
        await port.wait(lambda: port.of("plc.a")[-1].value == 4.0)
    rows = port.of("plc.a")[1:]
    assert [row.quality for row in rows] == [Quality.UNCERTAIN_CLOCK] * 3
    for row in rows:
        assert before.timestamp() * 1e9 < row.time_ns < (before + timedelta(minutes=2)).timestamp() * 1e9


async def test_a_frozen_server_shows_as_a_lost_link_and_its_data_returns() -> None:
    server = ServerProcess()
    await server.start()
    try:
        device = {"publish": "100ms", "tags": nodes("counter")}
        async with running(server.endpoint, {"plc": device}, timeout="2s") as (_, port):
            await port.wait(lambda: len(port.values("plc.counter")) >= 3)
            server.freeze()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.counter"), 20)
            known = len(port.values("plc.counter"))
            server.thaw()
            await port.wait(lambda: len(port.values("plc.counter")) > known + 3, 30)
    finally:
        await server.stop()


async def test_the_gap_of_an_outage_is_filled_from_history() -> None:
    server = OpcuaServer({"a": 0.0, "plain": 0.0})
    server.historized = ["a"]
    async with serving(server):
        device = {"publish": "50ms", "history": True, "tags": nodes("a", "plain")}
        async with running(server.endpoint, {"plc": device}, every=0.0, timeout="2s") as (_, port):
            await port.wait(lambda: bool(port.values("plc.a") and port.values("plc.plain")))
            await server.close_connections()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.a"))
            start = datetime.now(UTC)
            for step in range(1, 6):
                await server.set("a", float(step), source=start + timedelta(milliseconds=step))
            await port.wait(lambda: port.of("plc.a")[-1].value == 5.0 and len(port.values("plc.a")) >= 6, 30)
            await port.wait(lambda: len(port.values("plc.plain")) == 2)
    filled = {row.value: row.time_ns for row in port.of("plc.a")[::-1] if row.quality == Quality.GOOD}
    assert set(filled) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    for step in range(1, 6):
        at = start + timedelta(milliseconds=step)
        assert filled[float(step)] == round(at.timestamp() * 1e6) * 1000


@pytest.mark.parametrize("page", [300, 10_000], ids=["continuation-points", "cut-off"])
async def test_a_long_gap_is_filled_page_by_page(page: int) -> None:
    server = OpcuaServer({"a": 0.0})
    server.historized = ["a"]
    async with serving(server):
        device = {"publish": "50ms", "history": True, "tags": nodes("a")}
        async with running(server.endpoint, {"plc": device}, every=0.0) as (_, port):
            await port.wait(lambda: bool(port.values("plc.a")))
            await server.close_connections()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.a"))
            server.server.iserver.history_manager.storage.max_history_data_response_size = page
            start = datetime.now(UTC)
            for step in range(1, 2501):
                await server.set("a", float(step), source=start + timedelta(milliseconds=step / 10))
            await port.wait(lambda: port.of("plc.a")[-1].value == 2500.0 and len(port.values("plc.a")) >= 2500, 40)
    filled = {row.value for row in port.of("plc.a") if row.quality == Quality.GOOD}
    assert filled == {float(step) for step in range(2501)}


async def test_a_server_without_history_is_left_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(OpcuaServer({"a": 1.0})) as server:
        device = {"publish": "50ms", "history": True, "tags": nodes("a")}
        async with running(server.endpoint, {"plc": device}) as (_, port):
            await port.wait(lambda: bool(port.values("plc.a")))
            await server.close_connections()
            await port.wait(lambda: len(port.values("plc.a")) >= 2)
            await server.set("a", 2.0)
            await port.wait(lambda: port.values("plc.a")[-1] == 2.0)
    assert port.links.count(("plc", False, "link")) == 1


async def test_a_reload_leaves_the_other_devices_subscription_alone() -> None:
    async with serving(OpcuaServer({"a": 1.0, "b": 2.0, "c": 3.0})) as server:
        devices = {"one": {"publish": "50ms", "tags": nodes("a")}, "two": {"publish": "50ms", "tags": nodes("b")}}
        async with running(server.endpoint, devices) as (source, port):
            await port.wait(lambda: bool(port.values("one.a") and port.values("two.b")))
            changed = {**devices, "two": {"publish": "50ms", "tags": nodes("c")}}
            connection = settings_of(OpcuaConnection, driver="opcua", endpoint=server.endpoint, devices=changed)
            plan = plan_of(connection, 0.05)
            port.table = plan.table
            source.reconfigure(plan)
            await port.wait(lambda: bool(port.values("two.c")))
            await server.set("a", 9.0)
            await port.wait(lambda: 9.0 in port.values("one.a"))
            assert port.values("one.a") == [1.0, 9.0], "a new subscription would have sent the old value again"
