"""An OPC UA server on loopback: restartable at the same port, with limits, able to run in a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.node import Node
from asyncua.server.internal_session import InternalSession
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.server import Server
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import BadTooManyOperations, UaError

from gateway.field.contract import Source
from gateway.field.opcua import OPCUA
from gateway.field.opcua.settings import OpcuaConnection
from tests.fakes.port import RecordingPort, context_of, plan_of, settings_of


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OpcuaServer:
    """Variables `ns=2;s=<name>` as given; `restart` loses sessions and subscriptions, as a power cycle does."""

    def __init__(self, variables: dict[str, Any], port: int = 0, items_per_call: int = 0) -> None:
        self.variables = variables
        self.port = port or free_port()
        self.items_per_call = items_per_call
        self.secret_limit = 0  # of items per call, which the server doesn't tell
        self.nodes: dict[str, Node] = {}
        self.server = Server()
        self.policies: Sequence[ua.SecurityPolicyType] = [ua.SecurityPolicyType.NoSecurity]
        self.certificate: Path | None = None
        self.key: Path | None = None
        self.user_manager: Any = None
        self.tokens: list[type] | None = None
        self.historized: Sequence[str] = ()
        self.calls: list[int] = []  # items in each CreateMonitoredItems call

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        server = self.server = Server(user_manager=self.user_manager)
        await server.init()
        server.set_endpoint(self.endpoint)
        await server.set_application_uri("urn:tests:server")
        server.set_security_policy(list(self.policies))
        if self.tokens is not None:
            server.set_identity_tokens(self.tokens)
        if self.certificate is not None and self.key is not None:
            await server.load_certificate(self.certificate)
            await server.load_private_key(self.key)
        await server.register_namespace("urn:tests:plant")
        for name, value in self.variables.items():
            node = await server.nodes.objects.add_variable(ua.NodeId.from_string(f"ns=2;s={name}"), name, value)
            await node.set_writable()
            self.nodes[name] = node
        if self.items_per_call:
            await self._limit(server)
        await server.start()
        for name in self.historized:
            await server.historize_node_data_change(self.nodes[name], period=timedelta(days=1), count=10_000)

    async def _limit(self, server: Server) -> None:
        limits = server.get_node(ua.NodeId(ua.Int32(ObjectIds.Server_ServerCapabilities_OperationLimits)))
        number = ua.NodeId(ua.Int32(ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall))
        try:
            await server.get_node(number).write_value(ua.UInt32(self.items_per_call))
        except UaError:
            await limits.add_property(number, "MaxMonitoredItemsPerCall", ua.UInt32(self.items_per_call))

    async def stop(self) -> None:
        await self.server.stop()

    async def add(self, name: str, value: Any) -> None:
        """One more variable."""
        self.nodes[name] = await self.server.nodes.objects.add_variable(
            ua.NodeId.from_string(f"ns=2;s={name}"), name, value
        )

    async def close_connections(self) -> None:
        """Cut every client off; the server goes on."""
        assert self.server.bserver is not None
        for client in list(self.server.bserver.clients):
            if client.transport is not None:
                client.transport.abort()

    async def set(self, name: str, value: Any, status: int = 0, source: datetime | None = None) -> None:
        """Write a value with its status and source time, as a PLC's server would."""
        kind = await self.nodes[name].read_data_type_as_variant_type()
        await self.write(name, ua.Variant(value, kind), status, source)

    async def write(self, name: str, value: ua.Variant, status: int = 0, source: datetime | None = None) -> None:
        """The same with a value of any type, as after a change of the PLC's program."""
        at: Any = source or datetime.now(UTC)
        data = ua.DataValue(value, ua.StatusCode(ua.UInt32(status)), at)
        held: Any = self.server.iserver.aspace[self.nodes[name].nodeid].attributes[AttributeIds.Value]
        held.value = None  # only then the library takes another type
        await self.server.write_attribute_value(self.nodes[name].nodeid, data)


@asynccontextmanager
async def limited(server: OpcuaServer) -> AsyncIterator[None]:
    """Make item creation fail as a whole beyond the server's limit, as real servers do."""
    service_class: Any = MonitoredItemService
    original = service_class.create_monitored_items

    async def refuse(service: Any, params: Any) -> Any:
        server.calls.append(len(params.ItemsToCreate))
        limit = server.items_per_call or server.secret_limit
        if limit and len(params.ItemsToCreate) > limit:
            raise BadTooManyOperations
        return await original(service, params)

    service_class.create_monitored_items = refuse
    try:
        yield
    finally:
        service_class.create_monitored_items = original


def nodes(*names: str, **keys: Any) -> dict[str, Any]:
    """Tags named like their variables."""
    return {name: {"node": f"ns=2;s={name}", **keys} for name in names}


@asynccontextmanager
async def running(
    endpoint: str, devices: dict[str, Any], every: float = 0.05, **keys: Any
) -> AsyncIterator[tuple[Source, RecordingPort]]:
    connection = settings_of(OpcuaConnection, driver="opcua", endpoint=endpoint, devices=devices, **keys)
    plan = plan_of(connection, every)
    context, port = context_of(plan)
    source = OPCUA.open(plan, context)
    task = asyncio.create_task(source.run())
    try:
        yield source, port
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


@asynccontextmanager
async def serving(server: OpcuaServer) -> AsyncIterator[OpcuaServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def reading_at_most(most: int, calls: list[int]) -> AsyncIterator[None]:
    """Make reads of more nodes fail as a whole; `calls` gets the nodes of each read."""
    session_class: Any = InternalSession
    original = session_class.read

    async def refuse(session: Any, params: Any) -> Any:
        if session.external:
            calls.append(len(params.NodesToRead))
            if len(params.NodesToRead) > most:
                raise BadTooManyOperations
        return await original(session, params)

    session_class.read = refuse
    try:
        yield
    finally:
        session_class.read = original


class ServerProcess:
    """A server in a process of its own, which can be frozen. Its variable `counter` counts ten times a second."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fakes.opcua", str(self.port), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            assert await self._process.stdout.readline() == b"ready\n"

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End it, frozen or not."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _main(port: int) -> None:
    server = OpcuaServer({"counter": 0.0}, port)
    await server.start()
    print("ready", flush=True)
    number = 0
    while True:
        await asyncio.sleep(0.1)
        number += 1
        await server.set("counter", float(number))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
