"""In which order and how fast the daemon delivers: beside a backlog, beside a dead upstream, what each one selects."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from tests.fakes.broker import ScriptedBroker
from tests.fakes.counting_plc import CountingPlc, counting
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, Received
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.waiting import until

EVERY_S = 0.02
SEAL_S = 0.1


def arrivals(messages: list[Received]) -> Iterator[tuple[int, float]]:
    """The counter's values in the order they came first, and the age of each in seconds."""
    seen: set[int] = set()
    for message in messages:
        if message.topic.endswith("/press/data"):
            for reading in json.loads(message.payload)["readings"]:
                if reading["tag"] == "count" and reading["value"] not in seen:
                    seen.add(reading["value"])
                    yield reading["value"], message.at_ns / 1e9 - reading["time"] / 1e3


def newest(received: Collector) -> int:
    return max((value for value, _ in arrivals(received.messages[-5:])), default=0)


def _all_here(received: Collector, last: int) -> bool:
    return {value for value, _ in arrivals(list(received.messages))} >= set(range(1, last + 1))


async def outage(proxy: Proxy, plc: CountingPlc, readings: int) -> tuple[int, int]:
    """The line to the broker is down for so many readings; the first and the last of them."""
    proxy.open = False
    proxy.cut()
    begun = plc.reads
    await until(lambda: plc.reads > begun + readings)
    proxy.open = True
    return begun + 1, plc.reads


async def test_live_first_delivers_the_present_at_once_and_the_past_at_its_rate(tmp_path: Path) -> None:
    rate = 100
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as received:
        async with Proxy(broker.port) as proxy, CountingPlc() as plc:
            spool = f"drain: live-first, backlog_rate: {rate}"
            config = counting(tmp_path, plc, f'plant: {{broker: "{proxy.url}"}}', spool=spool)
            async with GatewayProcess(config) as daemon:
                await daemon.ready()
                await until(lambda: newest(received) > 20)
                first, last = await outage(proxy, plc, 150)
                await until(lambda: _all_here(received, last))
                assert await daemon.end() == 0
        came = list(arrivals(list(received.messages)))
    order = [value for value, _ in came]
    past = [value for value in order if first + 10 <= value < last - 10]
    assert past == sorted(past)  # oldest first
    begin, end = order.index(past[0]), order.index(past[-1])
    live = [(value, age) for value, age in came[begin:end] if value > last + 25]
    assert len(live) > 25  # the present came in between
    assert statistics.median(age for _, age in live) < SEAL_S + 0.5
    at = dict(zip(order, _times(received, order), strict=True))
    assert at[past[-1]] - at[past[0]] > 0.7 * len(past) / rate


def _times(received: Collector, order: list[int]) -> list[float]:
    """When each value came first."""
    found: dict[int, float] = {}
    for message in list(received.messages):
        if message.topic.endswith("/press/data"):
            for reading in json.loads(message.payload)["readings"]:
                found.setdefault(reading["value"], message.at_ns / 1e9)
    return [found[value] for value in order]


async def test_oldest_first_keeps_the_order_of_each_tag_over_an_outage(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as received:
        async with Proxy(broker.port) as proxy, CountingPlc() as plc:
            config = counting(tmp_path, plc, f'plant: {{broker: "{proxy.url}"}}')
            async with GatewayProcess(config) as daemon:
                await daemon.ready()
                await until(lambda: newest(received) > 20)
                _, last = await outage(proxy, plc, 100)
                await until(lambda: newest(received) > last + 20)
                assert await daemon.end() == 0
        order = [value for value, _ in arrivals(list(received.messages))]
    assert order == list(range(1, len(order) + 1))


async def test_an_upstream_that_never_acknowledges_delays_no_other(tmp_path: Path) -> None:
    """Worse than a dead one: it takes everything and says nothing. The plant's readings are no older for it."""
    ages: dict[str, list[float]] = {}
    for name in ("alone", "beside"):
        folder = tmp_path / name
        folder.mkdir()
        with Mosquitto(folder) as broker, Collector(broker.port) as received:
            async with CountingPlc() as plc, ScriptedBroker() as cloud:
                cloud.puback = lambda _: None
                upstreams = f'plant: {{broker: "{broker.url}"}}'
                if name == "beside":
                    upstreams += f', cloud: {{broker: "{cloud.url}", window: 5}}'
                async with GatewayProcess(counting(folder, plc, upstreams)) as daemon:
                    await daemon.ready()
                    await until(lambda each=received: newest(each) > 120)  # type: ignore[misc]  # a default binds
                    assert bool(cloud.published) == (name == "beside")
                    assert not cloud.acknowledged
            ages[name] = sorted(age for value, age in arrivals(list(received.messages)) if value > 20)
    alone, beside = (statistics.median(ages[name]) for name in ("alone", "beside"))
    assert alone < SEAL_S + EVERY_S + 0.25
    assert beside < 2 * alone + 0.1, ages["beside"][-10:]


async def test_each_upstream_gets_what_it_selects_and_hears_of_no_other_loss(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    async with AsyncExitStack() as stack:
        near, far = stack.enter_context(Mosquitto(tmp_path)), stack.enter_context(Mosquitto(tmp_path / "far"))
        plant, cloud = stack.enter_context(Collector(near.port)), stack.enter_context(Collector(far.port))
        plc = await stack.enter_async_context(CountingPlc())
        selected = f'cloud: {{broker: "{far.url}", select: ["*.more", "!*.count"]}}'
        more = "more: {address: holding:40, type: uint16}"
        config = counting(tmp_path, plc, f'plant: {{broker: "{near.url}"}}, {selected}', more=more)
        daemon = await stack.enter_async_context(GatewayProcess(config))
        await daemon.ready()
        await until(lambda: newest(plant) > 20)
        daemon.send(signal.SIGSTOP)  # ticks pass by
        await asyncio.sleep(0.3)
        daemon.send(signal.SIGCONT)
        await until(lambda: bool(_losses(plant) and _losses(cloud)))
        assert await daemon.end() == 0
        tags = [{name for _, name in _tags(received)} for received in (plant, cloud)]
        told, selected_only = _losses(plant), _losses(cloud)
    assert tags == [{"count", "more"}, {"more"}]
    assert {tag for tags in told for tag in tags} == {"press.count", "press.more"}
    assert {tag for tags in selected_only for tag in tags} == {"press.more"}
    assert sum(told.values()) == 2 * sum(selected_only.values()) > 0


def _losses(received: Collector) -> dict[tuple[str, ...], int]:
    """Lost readings by the tags that were told with them."""
    found: dict[tuple[str, ...], int] = {}
    for message in received.messages:
        event = json.loads(message.payload) if message.topic == "cell/events" else {}
        if event.get("event") == "loss":
            tags = tuple(event["tags"])
            found[tags] = found.get(tags, 0) + event["count"]
    return found


def _tags(received: Collector) -> set[tuple[str, str]]:
    return {
        (body["device"], reading["tag"])
        for body in (json.loads(m.payload) for m in received.messages if m.topic.endswith("/data"))
        for reading in body["readings"]
    }
