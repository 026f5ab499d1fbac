"""What the whole daemon delivers when brokers lie, die or were never there."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.fakes.broker import Publish, ScriptedBroker
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.waiting import until

CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    devices: {{press: {{unit: 1, every: 50ms, tags: {{count: {{address: holding:0, type: uint32}}}}}}}}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms}}
upstreams: {{{upstreams}}}
status: {{listen: none}}
"""


def configure(folder: Path, plc: CountingPlc, **upstreams: str) -> Path:
    file = folder / "gateway.yaml"
    text = ", ".join(f'{name}: {{broker: "{url}"}}' for name, url in upstreams.items())
    file.write_text(CONFIG.format(plc=plc.port, folder=folder, upstreams=text))
    return file


def counts(messages: list[tuple[str, bytes]]) -> set[int]:
    """The counter's good values in data messages."""
    bodies: list[dict[str, Any]] = [json.loads(body) for topic, body in messages if topic.endswith("/press/data")]
    return {reading["value"] for body in bodies for reading in body["readings"] if reading["quality"] == "good"}


def taken(published: list[Publish]) -> list[tuple[str, bytes]]:
    return [(each.topic, each.payload) for each in published]


def received(collector: Collector) -> set[int]:
    return counts([(each.topic, each.payload) for each in list(collector.messages)])


def allowed() -> float:
    """Readings a power cut may cost: commit interval and sealing at 20 readings/s, and the disk's own time."""
    return (500 + 100) / 50 + 8


async def test_swallowed_acknowledgements_and_a_kill_cost_no_more_than_the_commit_interval(tmp_path: Path) -> None:
    async with CountingPlc() as plc, ScriptedBroker() as broker:
        broker.puback = lambda _: None
        config = configure(tmp_path, plc, plant=broker.url)
        async with GatewayProcess(config, "first") as first:
            await first.ready()
            await until(lambda: plc.reads > 100)
            await first.end(signal.SIGKILL)
            cut = plc.reads
        assert not broker.acknowledged
        before = len(broker.published)
        broker.puback = lambda _: 0
        async with GatewayProcess(config, "second") as second:
            await second.ready()
            await until(lambda: max(counts(taken(broker.published[before:])), default=0) > cut + 20, 40)
            assert await second.end() == 0
        seen = counts(taken(broker.acknowledged))
    missing = set(range(1, max(seen) + 1)) - seen
    assert len(missing) <= allowed()
    assert all(count > cut - allowed() for count in missing)


async def test_a_daemon_restarted_in_an_outage_keeps_what_it_had(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        broker.kill()
        async with CountingPlc() as plc:
            config = configure(tmp_path, plc, plant=broker.url)
            for name in ("first", "second"):
                async with GatewayProcess(config, name) as daemon:
                    await daemon.ready()
                    begun = plc.reads
                    await until(lambda start=begun: plc.reads > start + 40)  # type: ignore[misc]  # a default binds
                    assert await daemon.end() == 0
            broker.start()
            with Collector(broker.port) as collector:
                async with GatewayProcess(config, "third") as third:
                    await third.ready()
                    begun = plc.reads
                    await until(lambda: max(received(collector), default=0) > begun + 20, 40)
                    assert await third.end() == 0
                seen = received(collector)
    missing = set(range(1, max(seen) + 1)) - seen
    assert len(missing) <= 2  # the request under way at each of the two stops


async def test_a_dead_upstream_delays_no_other(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        async with CountingPlc() as plc:
            config = configure(tmp_path, plc, cloud="mqtt://127.0.0.1:9", plant=broker.url)
            with Collector(broker.port) as collector:
                async with GatewayProcess(config) as daemon:
                    await daemon.ready()
                    await until(lambda: len(received(collector)) > 100)
                    late = plc.reads - max(received(collector))
                    assert await daemon.end() == 0
                seen = received(collector)
    assert late < 20  # one second, while the cloud is down for the whole run
    assert seen == set(range(1, max(seen) + 1))
    assert "cloud: down" in daemon.log
