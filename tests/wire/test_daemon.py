"""The whole daemon as a process: a PLC that counts its reads, a real broker, signals and power cuts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app.kernels import choose_cache
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.waiting import until

EVERY_MS = 50
CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices:
      press:
        unit: 1
        every: 50ms
        tags:
          count: {{address: holding:0, type: uint32}}
          setpoint: {{address: holding:30, type: int16, write: {{min: 0, max: 1500}}}}
          {more}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms}}
upstreams: {{plant: {{broker: "{broker}", commands: true}}}}
status: {{listen: none}}
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
async def plc() -> AsyncIterator[CountingPlc]:
    async with CountingPlc() as started:
        yield started


def configure(folder: Path, plc: CountingPlc, broker: str, more: str = "") -> Path:
    file = folder / "gateway.yaml"
    file.write_text(CONFIG.format(plc=plc.port, folder=folder, broker=broker, more=more))
    return file


def messages(received: Collector, kind: str) -> list[dict[str, Any]]:
    return [json.loads(m.payload) for m in list(received.messages) if m.topic.endswith(kind)]


def counts(received: Collector) -> list[int]:
    """The counter's good values in the order they arrived, repeats and all."""
    return [
        reading["value"]
        for message in messages(received, "/press/data")
        for reading in message["readings"]
        if reading["tag"] == "count" and reading["quality"] == "good"
    ]


def lost(received: Collector) -> int:
    return sum(event["count"] or 0 for event in messages(received, "cell/events") if event["event"] == "loss")


async def test_a_broker_killed_in_mid_run_loses_nothing(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    async with Proxy(broker.port) as proxy:
        async with GatewayProcess(configure(tmp_path, plc, proxy.url)) as daemon:
            with Collector(broker.port) as received:
                await daemon.ready()
                await until(lambda: len(counts(received)) > 20)
                proxy.open = False
                broker.kill()
                before = plc.reads
                await until(lambda: plc.reads > before + 60)
                broker.start()
                await until(lambda: received.subscriptions == 2)  # a subscriber must be there before the backlog is
                proxy.open = True
                after = plc.reads
                await until(lambda: max(counts(received)) > after + 20, 40)
                assert await daemon.end() == 0
                last = plc.reads - 1  # the request under way at the stop has no answer any more
                await until(lambda: last in counts(received))
        seen = set(counts(received))
    assert sorted(seen) == list(range(1, max(seen) + 1))
    assert "plant: down" in daemon.log
    assert "plant: back after" in daemon.log


async def test_a_killed_daemon_loses_no_more_than_the_commit_interval(
    tmp_path: Path, broker: Mosquitto, plc: CountingPlc
) -> None:
    broker.kill()
    config = configure(tmp_path, plc, broker.url)
    async with GatewayProcess(config, "first") as first:
        await first.ready()
        await until(lambda: plc.reads > 60)
        await first.end(signal.SIGKILL)
        cut = plc.reads
    broker.start()
    with Collector(broker.port) as received:
        async with GatewayProcess(config, "second") as second:
            await second.ready()
            await until(lambda: max(counts(received), default=0) > cut + 20, 40)
            await until(lambda: any(event.get("reason") == "power" for event in messages(received, "cell/events")))
            assert await second.end() == 0
        seen = set(counts(received))
        boots = [message["boot"] for message in messages(received, "/press/data")]
        power = next(event for event in messages(received, "cell/events") if event.get("reason") == "power")
    missing = sorted(set(range(1, max(seen) + 1)) - seen)
    allowed = (500 + 100) / EVERY_MS + 8  # commit interval, sealing, and the disk's own time on a busy machine
    assert len(missing) <= allowed
    assert all(cut - allowed <= count <= cut for count in missing)
    assert len(dict.fromkeys(boots)) == 2  # what the first daemon left keeps its identity
    assert boots[0] != boots[-1]
    assert power["count"] is None
    assert power["from"] <= power["to"]


async def test_a_clean_stop_delivers_all_and_says_goodbye(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    with Collector(broker.port) as received:
        async with GatewayProcess(configure(tmp_path, plc, broker.url)) as daemon:
            await daemon.ready()
            await until(lambda: len(counts(received)) > 20)
            assert await daemon.end() == 0
        last = plc.reads - 1  # the request under way at the stop has no answer any more
        await until(lambda: last in counts(received))
        await until(lambda: [m["state"] for m in messages(received, "cell/state")] == ["online", "offline"])
        link = messages(received, "cell/press/state")[-1]
    assert counts(received) == list(range(1, max(counts(received)) + 1))
    assert lost(received) == 0
    assert link["state"] == "online"
    assert daemon.notified.index("READY=1") < daemon.notified.index("STOPPING=1")
    assert any(text.startswith("STATUS=1/1 devices ok") for text in daemon.notified)


async def test_a_write_goes_to_the_plc_and_is_read_back(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    with Collector(broker.port) as received:
        async with GatewayProcess(configure(tmp_path, plc, broker.url)) as daemon:
            await daemon.ready()
            await until(lambda: len(counts(received)) > 1)
            request = {
                "id": "a1",
                "writes": [
                    {"tag": "press.setpoint", "value": 900},
                    {"tag": "press.setpoint", "value": 2000},
                    {"tag": "press.count", "value": 1},
                ],
            }
            await asyncio.to_thread(received.publish, "cell/command/write", json.dumps(request).encode())
            await until(lambda: bool(messages(received, "cell/command/result")))
            [answer] = messages(received, "cell/command/result")
            await until(lambda: any(each["event"] == "write" for each in messages(received, "cell/events")))
            event = next(each for each in messages(received, "cell/events") if each["event"] == "write")
    assert plc.written == {30: 900}
    assert [result["status"] for result in answer["results"]] == ["ok", "out_of_range", "denied"]
    assert answer["results"][0]["readback"] == 900
    assert event["gateway"] == "cell"


async def test_a_reload_touches_only_what_changed(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    config = configure(tmp_path, plc, broker.url)
    with Collector(broker.port) as received:
        async with GatewayProcess(config) as daemon:
            await daemon.ready()
            await until(lambda: len(counts(received)) > 10)
            configure(tmp_path, plc, broker.url, "extra: {address: holding:40, type: uint16}")
            daemon.send(signal.SIGHUP)
            await until(lambda: any("extra" in str(m) for m in messages(received, "/press/data")))
            config.write_text(config.read_text().replace("uint32", "uint33"))
            daemon.send(signal.SIGHUP)
            await until(
                lambda: (
                    [e["result"] for e in messages(received, "cell/events") if e["event"] == "reload"]
                    == ["applied", "refused"]
                )
            )
            before = plc.reads
            await until(lambda: max(counts(received)) > before + 5)
            assert await daemon.end() == 0
        applied, refused = [e for e in messages(received, "cell/events") if e["event"] == "reload"]
    assert applied["changed"] == {"devices": ["press"], "upstreams": []}
    assert refused["changed"] == {"devices": [], "upstreams": []}
    assert sorted(set(counts(received))) == list(range(1, max(counts(received)) + 1))
    assert max(counts(received)) >= plc.reads - 1


async def test_an_upstream_that_moves_takes_its_backlog_along(
    tmp_path: Path, broker: Mosquitto, plc: CountingPlc
) -> None:
    nowhere = "mqtt://127.0.0.1:9"
    config = configure(tmp_path, plc, nowhere)
    async with GatewayProcess(config) as daemon:
        await daemon.ready()
        await until(lambda: plc.reads > 60)
        with Collector(broker.port) as received:
            config.write_text(config.read_text().replace(nowhere, broker.url))
            daemon.send(signal.SIGHUP)
            await until(lambda: len(set(counts(received))) > 80)
            assert await daemon.end() == 0
            [applied] = [e for e in messages(received, "cell/events") if e["event"] == "reload"]
        seen = set(counts(received))
    assert applied["changed"] == {"devices": [], "upstreams": ["plant"]}
    assert sorted(seen) == list(range(1, max(seen) + 1))


async def test_a_second_daemon_on_one_spool_is_refused(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    config = configure(tmp_path, plc, broker.url)
    async with GatewayProcess(config) as first:
        await first.ready()
        async with GatewayProcess(config, "second") as second:
            assert second._process is not None
            async with asyncio.timeout(60):
                assert await second._process.wait() == 1
            assert "Traceback" not in second.log
            assert "spool.db" in second.log
        before = plc.reads
        await until(lambda: plc.reads > before + 5)
        assert await first.end() == 0


async def test_it_starts_without_plc_broker_or_disk_and_says_so(tmp_path: Path, broker: Mosquitto) -> None:
    broker.kill()
    async with CountingPlc() as plc:
        config = configure(tmp_path, plc, broker.url)
    config.write_text(config.read_text().replace(f"{tmp_path}/spool.db", "/dev/null/spool.db"))
    async with GatewayProcess(config) as daemon:
        await daemon.ready()
        await until(lambda: "plc: down" in daemon.log and "plant: down" in daemon.log)
        assert "spool" in daemon.log
        broker.start()
        with Collector(broker.port) as received:
            await until(lambda: bool(messages(received, "/press/data")))
            reading = messages(received, "/press/data")[0]["readings"][0]
            assert await daemon.end() == 0
    assert (reading["value"], reading["quality"], reading["reason"]) == (None, "bad", "link")


async def test_nothing_is_compiled_once_it_is_ready(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    steps = "more: {address: holding:40, type: uint16, count: 12, scale: 0.1, steps: [{swinging-door: {deviation: 1}}]}"
    async with GatewayProcess(configure(tmp_path, plc, broker.url, steps)) as daemon:
        await daemon.ready()
        cache = choose_cache().directory
        assert cache is not None
        before = set(cache.rglob("*.nbc"))
        broker.kill()
        cut = plc.reads
        await until(lambda: plc.reads > cut + 60)  # long enough for blocks to go to disk, through the codec
        broker.start()
        with Collector(broker.port) as received:
            await until(lambda: len(counts(received)) > 20)
        assert await daemon.end() == 0
    assert set(cache.rglob("*.nbc")) == before


@pytest.mark.parametrize(("text", "code"), [("gateway: {name: 'a b'}\n", 78), (None, 66)])
async def test_what_it_can_not_start_with_ends_it_at_once(tmp_path: Path, text: str | None, code: int) -> None:
    config = tmp_path / "gateway.yaml"
    if text is not None:
        config.write_text(text)
    async with GatewayProcess(config) as daemon:
        async with asyncio.timeout(30):
            assert await daemon._process.wait() == code  # type: ignore[union-attr]  # inside the block it is there
        assert "Traceback" not in daemon.log
        assert str(config) in daemon.log
