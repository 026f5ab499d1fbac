"""The whole daemon as an edge node: killed, restarted, cut off, a PLC gone and back; its packets pass the checks."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.sparkplug.checks import births, forwarding, metrics, properties, publish, session, templates, topics
from tests.fakes.sparkplug.rules import Rule
from tests.fakes.sparkplug.schema import value_of
from tests.fakes.sparkplug.stage import Stage
from tests.fakes.sparkplug.tap import Recorder, Tap
from tests.fakes.sparkplug.transcript import Suite, Transcript, bdseq
from tests.fakes.waiting import until

CONFIG = """
gateway: {{name: cell}}
defaults: {{every: 50ms}}
connections:
  one:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {one}
    timeout: 5s
    devices:
      press:
        tags:
          count: {{address: holding:0, type: uint32}}
          setpoint: {{address: holding:30, type: int16, write: {{}}}}
  two:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {two}
    timeout: 5s
    devices: {{meter: {{tags: {{count: {{address: holding:0, type: uint32, unit: kWh}}}}}}}}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 200ms}}
upstreams: {{scada: {{broker: "{broker}", commands: true, format: sparkplug, sparkplug: {{group: g}}}}}}
status: {{listen: none}}
"""
# Checks that hold for any transcript; the others need scenarios of their own.
PARTICULAR = {
    session.clean_session_311, session.ndeath_before_disconnect_311, session.bdseq_increments,
    topics.one_node_per_descriptor, topics.devices_may_have_equal_names_on_other_nodes,
    publish.seq_counts_to_255_and_around, births.dbirth_tells_the_newest, forwarding.the_backlog_arrives,
    forwarding.every_reading_arrives, forwarding.a_host_hears_the_will_too, properties.quality_is_a_known_code,
}  # fmt: skip
RULES: tuple[Rule, ...] = (
    *topics.RULES, *session.RULES, *publish.RULES, *births.RULES, *metrics.RULES, *properties.RULES, *templates.RULES,
    *forwarding.OURS,
)  # fmt: skip


def counts(transcript: Transcript, device: str, connection: int) -> list[int]:
    """The counter's values that went out over a connection, in order, the historical ones before the rest."""
    alias = {one.metric("count").alias for one in transcript.sent("DBIRTH") if one.device == device}
    return [
        value_of(metric)
        for one in transcript.sent("DDATA")
        if one.packet.connection == connection
        for metric in one.metrics
        if metric.alias in alias and not metric.is_null
    ]


async def play(folder: Path) -> Transcript:
    recorder = Recorder()

    async def live(connection: int) -> None:
        """All births are out, and data behind them."""
        await until(
            lambda: any(
                one.connection == connection and one.sent and "/DDATA/" in one.topic for one in recorder.packets
            )
        )

    with Mosquitto(folder) as broker, Collector(broker.port) as host:
        async with Tap(recorder, broker.port) as tap, CountingPlc() as one, CountingPlc() as two:
            on = Stage(broker, tap, host, recorder)
            config = folder / "gateway.yaml"
            config.write_text(CONFIG.format(one=one.port, two=two.port, folder=folder, broker=tap.url))
            async with GatewayProcess(config, "first") as first:
                await first.ready()
                await on.until("DDATA", 5, "meter")
                await on.command("press", name="setpoint", datatype=2, int_value=900)
                await until(lambda: one.written == {30: 900})
                await two.__aexit__(None, None, None)
                await on.until("DDEATH", 1, "meter")
                await two.__aenter__()
                await on.until("DBIRTH", 2, "meter")
                await first.end(signal.SIGKILL)
                await until(lambda: recorder.packets[-1].kind == "CLOSED")
            async with GatewayProcess(config, "second") as second:
                await second.ready()
                await live(1)
                await tap.refuse()
                reads = one.reads
                await until(lambda: one.reads > reads + 20)
                await tap.listen()
                await live(2)
                reads = one.reads
                await until(lambda: one.reads > reads + 10)
                assert await second.end() == 0
            await on.over()
            return on.transcript("daemon", reads=one.reads, died=["meter"])


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    return asyncio.run(play(tmp_path_factory.mktemp("daemon")))


def test_the_daemons_packets_pass_the_checks(transcript: Transcript) -> None:
    suite = Suite({"daemon": transcript, "device": transcript, "plain-5": transcript})
    for rule in RULES:
        if rule.check not in PARTICULAR:
            rule.check(suite)


def test_topics_nbirth_bdseq_increment_over_a_kill_and_a_refused_connection(transcript: Transcript) -> None:
    assert [bdseq(one.payload) for one in transcript.sent("NBIRTH")] == [0, 1, 2]


def test_no_reading_of_the_second_run_is_missing(transcript: Transcript) -> None:
    sent = {count for connection in (1, 2) for count in counts(transcript, "press", connection)}
    born = [value_of(one.metric("count")) for one in transcript.sent("DBIRTH") if one.device == "press"]
    last = transcript.facts["reads"]
    assert set(range(born[1] or min(sent), last)) <= sent | {last}
    historical = [one for one in transcript.sent("DDATA") if all(metric.is_historical for metric in one.metrics)]
    assert historical
