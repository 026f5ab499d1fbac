from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gateway.tools.demo import Script
from gateway.tools.demo_config import Wiring, find, render, usual_ports
from gateway.tools.demo_view import Scene, picture, plain
from gateway.tools.demo_watch import Arrivals, Figures, parse_metrics
from gateway.tools.simulation.ports import alone, free_port


def _wiring(spool: Path) -> Wiring:
    return Wiring(1502, "/dev/pts/7", "/dev/pts/8", "opc.tcp://127.0.0.1:4841", 18830, 18080, spool)


def test_every_address_of_the_file_is_replaced(tmp_path: Path) -> None:
    text = render(find(), _wiring(tmp_path / "spool.db"))
    document = YAML(typ="safe").load(text)
    for connection in document["connections"].values():
        place = connection.get("port"), connection.get("endpoint")
        assert place in {
            (1502, None), ("/dev/pts/7", None), ("/dev/pts/8", None), (None, "opc.tcp://127.0.0.1:4841"),
        }  # fmt: skip
    assert document["upstreams"]["plant"]["broker"] == "mqtt://127.0.0.1:18830"
    assert document["status"]["listen"] == "127.0.0.1:18080"
    assert document["spool"]["path"] == str(tmp_path / "spool.db")
    assert not re.search(r"ttyUSB|:4840|:1883\b", text)


def test_the_usual_ports_are_those_of_the_file() -> None:
    assert usual_ports(find()) == (5020, 1883, 8080)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_metrics_are_summed_over_labels() -> None:
    text = """# TYPE gateway_readings counter
gateway_readings_total{stage="polled"} 100.0
gateway_readings_total{stage="kept"} 20.0
gateway_readings_total{stage="acknowledged"} 18.0
# TYPE gateway_backlog_readings gauge
gateway_backlog_readings 2.0
# TYPE gateway_readings_lost counter
gateway_readings_lost_total{reason="missed_tick"} 3.0
gateway_readings_lost_total{reason="spool_full"} 4.0
"""
    assert parse_metrics(text) == Figures(100, 20, 18, 2, 7)
    assert parse_metrics("") == Figures()


def _message(block: int, part: int | None = None) -> bytes:
    readings = [
        {"tag": "force", "time": 1, "value": 41.987, "quality": "good"},
        {"tag": "parts", "time": 1, "value": None, "quality": "bad", "reason": "timeout"},
    ]
    extra = {} if part is None else {"part": part}
    return json.dumps(
        {"gateway": "g", "device": "press", "boot": "abc", "block": block, "readings": readings, **extra}
    ).encode()


def test_a_repeated_message_is_a_repeat_and_a_part_is_none() -> None:
    arrivals = Arrivals()
    for payload in (_message(1), _message(1), _message(2, 0), _message(2, 1)):
        arrivals.take("a/data", payload)
    arrivals.take("a/state", b"{}")
    assert (arrivals.messages, arrivals.readings, arrivals.repeats) == (3, 6, 1)
    assert arrivals.values == {"press.force": "41.99", "press.parts": "bad/timeout"}


@pytest.mark.parametrize("seconds", [None, 15.0, 20.0, 60.0])
def test_the_outage_has_its_full_length_within_the_run(seconds: float | None) -> None:
    script = Script(seconds, 10.0)
    steps = [place / 10 for place in range(600)]
    down = [place for place in steps if not script.broker_up(place)]
    assert len(down) == 100
    assert down[0] >= 2.0
    assert not any(script.over(place) for place in down)
    assert script.over(60.0) is (seconds is not None)


def test_without_an_outage_the_broker_stays_up() -> None:
    script = Script(10.0, None)
    assert all(script.broker_up(place) for place in range(100))
    assert not script.over(9.9)
    assert script.over(10.0)


def test_views_show_the_figures() -> None:
    scene = Scene(12.0, Figures(1000, 100, 90, 10, 0), note="draining", broker_up=False)
    line = plain(scene)
    for part in ("polled 1,000", "kept 100 (1 in 10.0)", "acknowledged 90", "backlog 10", "PULLED", "draining"):
        assert part in line
    assert picture(scene).renderables


def test_plain_view_before_the_daemon_answers() -> None:
    assert "arrived 0" in plain(Scene())


def test_of_two_that_start_at_once_one_is_first() -> None:
    with alone("edge-gateway-test-of-two") as first:
        with alone("edge-gateway-test-of-two") as second:
            assert (first, second) == (True, False)
        with alone("edge-gateway-test-of-another") as other:
            assert other
    with alone("edge-gateway-test-of-two") as again:
        assert again
