from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds

from gateway.errors import LinkError
from gateway.tools.browse import _browse, _settings
from gateway.tools.simulation.ports import free_port


def _node(name: str, space: int) -> ua.NodeId:
    return ua.NodeId.from_string(f"ns={space};s={name}")


@pytest.fixture
async def endpoint() -> AsyncIterator[str]:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    server = Server()
    await server.init()
    url = f"opc.tcp://127.0.0.1:{free_port()}"
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    space = await server.register_namespace("urn:test:plant")
    press = await server.nodes.objects.add_object(space, "Press")
    await press.add_variable(_node("Press.Force", space), "Force", 41.5, ua.VariantType.Float)
    setpoint = await press.add_variable(_node("Press.Setpoint", space), "Setpoint", 9, ua.VariantType.Int32)
    await setpoint.set_writable()
    zones = await press.add_object(space, "Zones")
    for number in range(120):  # more than one call and one continuation point
        node = _node(f"Zone.{number}", space)
        await zones.add_variable(node, f"Zone{number}", float(number), ua.VariantType.Double)
    await zones.add_reference(press, ObjectIds.Organizes)  # a loop in the tree
    async with server:
        yield url


async def test_a_tree_is_browsed_with_values(endpoint: str) -> None:
    found = {each.node: each for each in await _browse(_settings(endpoint, None), "press", 8, values=True)}
    force = found["ns=2;s=Press.Force"]
    assert (force.path, force.data_type, force.value, force.writable) == (("Press", "Force"), "Float", "41.5", False)
    setpoint = found["ns=2;s=Press.Setpoint"]
    assert (setpoint.tag_type, setpoint.value, setpoint.writable) == ("int32", "9", True)
    assert sum(node.startswith("ns=2;s=Zone.") for node in found) == 120


async def test_filter_and_depth_leave_out(endpoint: str) -> None:
    assert not await _browse(_settings(endpoint, None), "zone*", 2, values=False)
    found = await _browse(_settings(endpoint, None), "*/zone7", 3, values=False)
    assert [(each.node, each.value) for each in found] == [("ns=2;s=Zone.7", None)]


async def test_no_server_is_a_link_error() -> None:
    with pytest.raises(LinkError, match=r"127\.0\.0\.1"):
        await _browse(_settings(f"opc.tcp://127.0.0.1:{free_port()}", None), None, 3, values=False)


def test_a_wrong_url_is_said() -> None:
    with pytest.raises(ValueError, match=r"opc\.tcp"):
        _settings("http://127.0.0.1", None)
