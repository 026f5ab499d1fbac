"""A simulated OPC UA server: one flat folder of variables with string node ids, values set from outside."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server

from gateway.tools.simulation.ports import free_port

Value = bool | int | float | str
VARIANTS: Final[Mapping[str, ua.VariantType]] = {
    "bool": ua.VariantType.Boolean,
    "int8": ua.VariantType.SByte,
    "uint8": ua.VariantType.Byte,
    "int16": ua.VariantType.Int16,
    "uint16": ua.VariantType.UInt16,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "uint64": ua.VariantType.UInt64,
    "float16": ua.VariantType.Float,
    "float32": ua.VariantType.Float,
    "float64": ua.VariantType.Double,
    "string": ua.VariantType.String,
}


def highest_namespace(nodes: Iterable[str]) -> int:
    """The largest namespace index among node ids."""
    found = (re.match(r"ns=(\d+);", node) for node in nodes)
    return max((int(match[1]) for match in found if match), default=0)


@dataclass(frozen=True)
class Variable:
    """One variable: its node id as in a configuration (`ns=2;s=Weld.Current`), type, first value."""

    node: str
    type: str
    value: Value
    writable: bool = False


class OpcUaServer:
    """Variables on one endpoint without security. Use with `async with`; `set` while it is open."""

    def __init__(self, variables: list[Variable], host: str = "127.0.0.1", port: int = 0) -> None:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self._variables = variables
        self._place = host, port
        self._server = Server()
        self._nodes: dict[str, tuple[Node, ua.VariantType]] = {}

    @property
    def endpoint(self) -> str:
        """`opc.tcp://host:port`. A port of 0 is replaced by a free one when the server opens."""
        host, port = self._place
        return f"opc.tcp://{host}:{port}"

    async def __aenter__(self) -> OpcUaServer:
        if self._place[1] == 0:
            self._place = self._place[0], free_port()
        await self._server.init()
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("simulated plant")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        nodes = [variable.node for variable in self._variables]
        for number in range(2, highest_namespace(nodes) + 1):
            await self._server.register_namespace(f"urn:simulated:plant:{number}")
        for variable in self._variables:
            await self._add(variable, await self._node_id(variable.node))
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    async def set(self, node: str, value: Value) -> None:
        """Give a variable a new value, with the present time as its source time; standard nodes keep theirs."""
        if node not in self._nodes:
            return
        target, variant = self._nodes[node]
        data = ua.DataValue(ua.Variant(value, variant), SourceTimestamp=ua.DateTime.now(UTC))
        await self._server.write_attribute_value(target.nodeid, data)

    async def get(self, node: str) -> Value:
        """A variable's present value."""
        value: Value = await self._nodes[node][0].read_value()
        return value

    async def _node_id(self, node: str) -> ua.NodeId:
        if not node.startswith("nsu="):
            return ua.NodeId.from_string(node)
        uri, _, rest = node.removeprefix("nsu=").partition(";")
        index = await self._server.register_namespace(uri)
        return ua.NodeId.from_string(f"ns={index};{rest}")

    async def _add(self, variable: Variable, node_id: ua.NodeId) -> None:
        variant = VARIANTS[variable.type]
        name = ua.QualifiedName(str(node_id.Identifier), node_id.NamespaceIndex)
        if node_id.NamespaceIndex == 0:
            return  # the server has its own there
        node = await self._server.nodes.objects.add_variable(node_id, name, variable.value, variant)
        if variable.writable:
            await node.set_writable()
        self._nodes[variable.node] = node, variant
