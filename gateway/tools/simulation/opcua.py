"""A simulated OPC UA server: one flat folder of variables with string node ids, values set from outside."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.server import Server

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
    "float32": ua.VariantType.Float,
    "float64": ua.VariantType.Double,
    "string": ua.VariantType.String,
}


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
        logging.getLogger("asyncua").setLevel(logging.ERROR)
        self._variables = variables
        self._place = host, port
        self._server = Server()
        self._nodes: dict[str, tuple[Node, ua.VariantType]] = {}

    @property
    def endpoint(self) -> str:
        """`opc.tcp://host:port`."""
        host, port = self._place
        return f"opc.tcp://{host}:{port}"

    async def __aenter__(self) -> OpcUaServer:
        await self._server.init()
        self._server.set_endpoint(self.endpoint)
        self._server.set_server_name("simulated plant")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        parsed = [(variable, ua.NodeId.from_string(variable.node)) for variable in self._variables]
        highest = max((int(node.NamespaceIndex) for _, node in parsed), default=0)
        for number in range(2, highest + 1):
            await self._server.register_namespace(f"urn:simulated:plant:{number}")
        for variable, node_id in parsed:
            await self._add(variable, node_id)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    async def set(self, node: str, value: Value) -> None:
        """Give a variable a new value, with the present time as its source time."""
        target, variant = self._nodes[node]
        data = ua.DataValue(ua.Variant(value, variant), SourceTimestamp=ua.DateTime.now(UTC))
        await self._server.write_attribute_value(target.nodeid, data)

    async def get(self, node: str) -> Value:
        """A variable's present value."""
        value: Value = await self._nodes[node][0].read_value()
        return value

    async def _add(self, variable: Variable, node_id: ua.NodeId) -> None:
        variant = VARIANTS[variable.type]
        name = ua.QualifiedName(str(node_id.Identifier), node_id.NamespaceIndex)
        node = await self._server.nodes.objects.add_variable(node_id, name, variable.value, variant)
        if variable.writable:
            await node.set_writable()
        self._nodes[variable.node] = node, variant
