"""A foreign OPC UA server, killed and started again, again and again."""

from __future__ import annotations

import pytest

from gateway.readings import Quality
from tests.fakes.node_opcua_server import NodeServer, missing
from tests.fakes.opcua import running

pytestmark = [pytest.mark.endure, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.mark.timeout(300)
async def test_every_tag_is_bad_at_once_and_comes_back_each_time() -> None:
    server = NodeServer(nodes=300, rate=3000)
    tags = {f"v{number}": {"node": f"ns=1;s=v{number}"} for number in range(300)}
    await server.start()
    try:
        async with running(server.endpoint, {"plc": {"publish": "100ms", "tags": tags}}, every=0.0) as (_, port):
            for _ in range(4):
                port.rows.clear()
                await port.wait(lambda: len({row.tag for row in port.rows if row.quality == Quality.GOOD}) == 300, 60)
                await server.kill()
                await port.wait(lambda: len({row.tag for row in port.rows if row.quality == Quality.BAD_LINK}) == 300)
                port.rows.clear()
                await server.start()
            await port.wait(lambda: len({row.tag for row in port.rows if row.quality == Quality.GOOD}) == 300, 60)
    finally:
        await server.kill()
    assert port.losses == []
