"""wire.md, state: who watches the retained topics knows what runs and since when it doesn't."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from gateway import __version__
from tests.fakes.cell import cell
from tests.fakes.mosquitto import Collector
from tests.fakes.waiting import until

PLACE = {
    "site": {"enterprise": "acme", "site": "north", "area": "welding", "line": "l1"},
    "location": {"latitude": 38.31, "longitude": 116.84},
}


async def test_online_then_offline_by_a_clean_stop(tmp_path: Path) -> None:
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/state")))
        await until(lambda: bool(c.messages("cell/press/data")))
        assert await c.daemon.end() == 0
        await until(lambda: len(c.messages("cell/state")) == 2)
        boot = c.bodies("cell/press/data")[0]["boot"]
        assert all((message.qos, message.retain) == (1, True) for message in c.messages("cell/state"))
        online, offline = c.bodies("cell/state")
        assert online == {"state": "online", "boot": boot, "version": __version__, **PLACE}
        assert offline == {**online, "state": "offline"}
        with Collector(c.broker.port, "cell/state") as late:
            late.wait_for(bool)
        assert b'"offline"' in late.messages[0].payload


async def test_the_will_says_offline_after_a_kill(tmp_path: Path) -> None:
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/state")))
        await c.daemon.end(signal.SIGKILL)
        await until(lambda: len(c.messages("cell/state")) == 2)
        online, will = c.bodies("cell/state")
        assert will == {**online, "state": "offline"}
        assert (c.messages("cell/state")[1].qos, c.messages("cell/state")[1].retain) == (1, True)


async def test_the_link_of_each_device(tmp_path: Path) -> None:
    begun = time.time_ns() // 1_000_000
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/press/state")))
        await c.server.shutdown()  # type: ignore[no-untyped-call]
        await until(lambda: len(c.messages("cell/press/state")) > 1)
        ended = time.time_ns() // 1_000_000
        assert all((message.qos, message.retain) == (1, True) for message in c.messages("cell/press/state"))
        online, offline = c.bodies("cell/press/state")[:2]
        assert online["state"] == "online"
        assert (offline["state"], offline["reason"]) == ("offline", "link")
        assert {type(online["since"]), type(offline["since"])} == {int}
        assert begun <= online["since"] <= offline["since"] <= ended
