"""Reloads of the whole daemon: many at once, of upstreams, of the status page, refused ones."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime.control import call
from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.waiting import until

HEAD = """
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
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms}}
"""
HALL = """  hall:
    driver: modbus-tcp
    host: localhost
    port: {plc}
    timeout: {timeout}ms
    devices:
      lamp: {{unit: 3, every: {every}ms, tags: {{light: {{address: holding:50}}}}}}
"""
OVEN = "      oven: {{unit: 2, every: {every}ms, tags: {{heat: {{address: holding:{address}}}}}}}\n"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
async def plc() -> AsyncIterator[CountingPlc]:
    async with CountingPlc() as started:
        yield started


class Cell:
    """One configuration file that changes, and what its daemon says."""

    def __init__(self, folder: Path, plc: CountingPlc, broker: Mosquitto, received: Collector) -> None:
        self.file = folder / "gateway.yaml"
        self.received = received
        self._head = HEAD.format(plc=plc.port, folder=folder)
        self._plant = f'{{broker: "{broker.url}"}}'

    def write(self, more: str = "status: {listen: none}\n", oven: str = "", upstreams: str = "") -> None:
        head = self._head.replace("spool:", oven + "spool:")
        new = self.file.with_suffix(".new")
        new.write_text(f"{head}upstreams:\n  plant: {self._plant}\n{upstreams}{more}")
        new.replace(self.file)  # as an editor does: nobody reads half a file

    def messages(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(m.payload) for m in list(self.received.messages) if m.topic.endswith(kind)]

    def counts(self) -> list[int]:
        readings = [reading for message in self.messages("/press/data") for reading in message["readings"]]
        return [each["value"] for each in readings if each["quality"] == "good"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.messages("cell/events") if event["event"] == kind]

    async def reload(self) -> Any:
        return await call(self.file.with_name("control.sock"), "reload")

    async def nothing_missing(self) -> None:
        """Every read of the counter that was answered arrived, and it goes on."""
        newest = max(self.counts())
        await until(lambda: max(self.counts()) > newest + 10)
        found = sorted(set(self.counts()))
        assert found == list(range(1, found[-1] + 1))
        assert {loss["reason"] for loss in self.events("loss")} <= {"missed_tick"}  # a busy machine


async def test_a_storm_of_reloads_costs_the_neighbour_nothing(
    tmp_path: Path, broker: Mosquitto, plc: CountingPlc
) -> None:
    with Collector(broker.port) as received:
        cell = Cell(tmp_path, plc, broker, received)
        cell.write()
        async with GatewayProcess(cell.file) as daemon:
            await daemon.ready()
            await until(lambda: len(cell.counts()) > 5)
            asked = []
            for number in range(20):
                oven = OVEN.format(every=50 + number % 3, address=40 + number) if number % 4 else ""
                hall = HALL.format(plc=plc.port, timeout=500 + number // 2, every=50 + number)
                cell.write(oven=oven + hall)
                daemon.send(signal.SIGHUP)
                if number % 4 == 1:
                    asked.append(asyncio.create_task(cell.reload()))
                await asyncio.sleep(0.02)  # so that some come while another one runs
            answers = await asyncio.gather(*asked)
            assert [answer["result"] for answer in answers] == ["applied"] * 5
            cell.write(oven=OVEN.format(every=50, address=60))
            final = await cell.reload()
            assert set(final["changed"]["devices"]) <= {"oven", "lamp"}  # nothing where a signal came first
            await until(lambda: bool(cell.messages("/oven/data")))
            await cell.nothing_missing()
            assert await daemon.end() == 0
        events = cell.events("reload")
    assert 6 <= len(events) <= 26
    assert {event["result"] for event in events} == {"applied"}
    assert all(set(event["changed"]["devices"]) <= {"oven", "lamp"} for event in events)
    assert all(event["changed"]["upstreams"] == [] for event in events)
    assert daemon.notified.count("READY=1") == 1 + len(events)
    assert "Traceback" not in daemon.log


async def test_upstreams_come_and_go_and_the_others_lose_nothing(
    tmp_path: Path, broker: Mosquitto, plc: CountingPlc
) -> None:
    with Mosquitto(tmp_path) as other, Collector(broker.port) as received, Collector(other.port) as second:
        cell = Cell(tmp_path, plc, broker, received)
        cell.write()
        async with GatewayProcess(cell.file) as daemon:
            await daemon.ready()
            await until(lambda: len(cell.counts()) > 5)
            cell.write(upstreams=f'  second: {{broker: "{other.url}"}}\n')
            assert (await cell.reload())["changed"] == {"devices": [], "upstreams": ["second"]}
            await until(lambda: any(m.topic.endswith("press/data") for m in list(second.messages)))
            other.kill()
            await until(lambda: "second: down" in daemon.log)
            cell.write(upstreams=f'  second: {{broker: "{other.url}", format: columns}}\n')
            assert (await cell.reload())["changed"] == {"devices": [], "upstreams": ["second"]}
            before = plc.reads
            await until(lambda: plc.reads > before + 20)
            cell.write()
            assert (await cell.reload())["changed"] == {"devices": [], "upstreams": ["second"]}
            await until(lambda: "upstream second left" in daemon.log)
            await cell.nothing_missing()
            assert await daemon.end() == 0
        assert "Traceback" not in daemon.log


async def test_the_status_page_moves_and_takes_a_new_token(tmp_path: Path, broker: Mosquitto, plc: CountingPlc) -> None:
    token, ports = tmp_path / "token", (free_port(), free_port())
    token.write_text("first-token\n")
    token.chmod(0o600)

    def get(port: int, bearer: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/health")  # our own page
        request.add_header("Authorization", f"Bearer {bearer}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    async def until_answers(port: int, bearer: str, code: int) -> None:
        async with asyncio.timeout(20):
            while await asyncio.to_thread(get, port, bearer) != code:  # noqa: ASYNC110  # it is another process
                await asyncio.sleep(0.05)

    with Collector(broker.port) as received:
        cell = Cell(tmp_path, plc, broker, received)
        pages = [f"status: {{listen: '127.0.0.1:{port}', token: {{file: {token}}}}}\n" for port in ports]
        cell.write(pages[0])
        async with GatewayProcess(cell.file) as daemon:
            await daemon.ready()
            await until_answers(ports[0], "first-token", 200)
            cell.write(pages[1])
            assert (await cell.reload())["result"] == "applied"
            await until_answers(ports[1], "first-token", 200)
            assert get(ports[0], "first-token") == 0
            token.write_text("second-token\n")
            assert (await cell.reload())["changed"] == {"devices": [], "upstreams": []}
            await until_answers(ports[1], "second-token", 200)
            assert get(ports[1], "first-token") == 401
            cell.write()
            await cell.reload()
            await until_answers(ports[1], "second-token", 0)
            await cell.nothing_missing()
            assert await daemon.end() == 0
        assert "-token" not in daemon.log


async def test_what_is_refused_changes_nothing_and_says_why(
    tmp_path: Path, broker: Mosquitto, plc: CountingPlc
) -> None:
    with Collector(broker.port) as received:
        cell = Cell(tmp_path, plc, broker, received)
        cell.write()
        good = cell.file.read_text()
        async with GatewayProcess(cell.file) as daemon:
            await daemon.ready()
            await until(lambda: len(cell.counts()) > 5)
            for wrong, reason in (
                (good.replace("uint32", "uint33"), "gateway.yaml:13:45: connections.plc.devices.press.tags.count.type"),
                (good.replace("100ms", "90ms"), "spool can't change while running"),
                (good.replace("name: cell", "name: other"), "gateway.name can't change while running"),
                (good + "\t", "a tab stands here"),
                ("", "the file is empty"),
            ):
                cell.file.write_text(wrong)
                answer = await cell.reload()
                assert (answer["result"], answer["changed"]) == ("refused", {"devices": [], "upstreams": []})
                assert reason in answer["errors"][0]
                assert reason in daemon.log
            cell.file.unlink()
            assert "No such file" in (await cell.reload())["errors"][0]
            cell.file.write_text(good.replace("uint32", "uint33"))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "reload", str(cell.file)), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert process.returncode == 1
            assert json.loads(out)["result"] == "refused"
            await cell.nothing_missing()
            assert await daemon.end() == 0
        assert [event["result"] for event in cell.events("reload")] == ["refused"] * 7
    assert "Traceback" not in daemon.log
