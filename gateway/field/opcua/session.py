"""One session with a server: opened in our own order, watched, renewed and closed; every call translated.

The library's own reconnecting and its supervisor stay off: a lost session ends here with a LinkError, and
runtime/supervise.py opens a new one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import BadTooManyOperations, UaError, UaStatusCodeError

from gateway.errors import LinkError, RefusedError
from gateway.field.opcua.security import log_in, secure
from gateway.field.opcua.settings import OpcuaConnection
from gateway.field.sockets import describe
from gateway.field.together import link_group

CHANNEL_MS = 3_600_000  # lifetime of the secure channel's keys that is asked for
SESSION_MS: Final = 60_000  # dead sessions fill the few slots of a PLC; an hour is the library's default
WATCH_S: Final = 3.0
MOST: Final = 1000  # operations in one call, whatever the server would allow

# What the library raises when a server answers nonsense, hangs up or says no.
FOREIGN: Final = (
    UaError,
    OSError,
    TimeoutError,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
_REFUSALS: Final = frozenset(
    {
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadUserSignatureInvalid,
        StatusCodes.BadSecurityChecksFailed,
        StatusCodes.BadSecurityPolicyRejected,
        StatusCodes.BadSecurityModeRejected,
        StatusCodes.BadCertificateUntrusted,
        StatusCodes.BadCertificateInvalid,
        StatusCodes.BadCertificateTimeInvalid,
        StatusCodes.BadCertificateUriInvalid,
        StatusCodes.BadCertificateUseNotAllowed,
        StatusCodes.BadLicenseExpired,
    }
)
_LIMITS: Final = {
    "read": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "items": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
    "history": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Foreign errors of a call as LinkError, those that no retry mends as RefusedError."""
    try:
        yield
    except UaStatusCodeError as error:
        kind = RefusedError if error.code in _REFUSALS else LinkError
        raise kind(f"{what}: {ua.StatusCode(error.code).name}") from error
    except TimeoutError as error:
        raise LinkError(f"{what}: no answer in time") from error
    except OSError as error:
        raise LinkError(f"{what}: {describe(error)}") from error
    except FOREIGN as error:
        raise LinkError(f"{what}: {str(error) or type(error).__name__}") from error


@dataclass
class Session:
    """An open session and what its server allows in one call."""

    client: Client
    limits: dict[str, int] = field(default_factory=dict)
    namespaces: Sequence[str] = ()

    @property
    def services(self) -> UaSession:
        """The raw services."""
        return self.client.uaclient.session

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self.client.state is UaClientState.CONNECTED

    def node(self, text: str) -> ua.NodeId | None:
        """The node id of a configured node; None where the server doesn't know its namespace."""
        if not text.startswith("nsu="):
            return ua.NodeId.from_string(text)
        uri, _, rest = text.removeprefix("nsu=").partition(";")
        return ua.NodeId.from_string(f"ns={self.namespaces.index(uri)};{rest}") if uri in self.namespaces else None

    async def read(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        """The values of some nodes (at most the server's limit), with both times. Foreign errors as they come."""
        parameters = ua.ReadParameters(
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
        )
        return await self.services.read(parameters)

    async def learn(self) -> None:
        """Ask for the operation limits and the namespaces; what the server doesn't have, it doesn't limit."""
        wanted = [ua.NodeId(ua.Int32(number)) for number in _LIMITS.values()]
        answers = await self.read([*wanted, ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray))])
        values = [None if answer.Value is None else answer.Value.Value for answer in answers]
        for name, value in zip(_LIMITS, values[:-1], strict=True):
            self.limits[name] = min(int(value), MOST) if isinstance(value, int) and value > 0 else MOST
        self.namespaces = tuple(values[-1]) if isinstance(values[-1], list) else ()


async def in_parts(session: Session, kind: str, count: int, call: Callable[[slice], Awaitable[None]]) -> None:
    """Call for parts of `count` operations that the server takes at once; learns a limit it doesn't tell.

    LinkError where it refuses even a single operation as too many. Other errors of `call` pass.
    """
    start = 0
    while start < count:
        part = slice(start, min(start + session.limits[kind], count))
        try:
            await call(part)
        except BadTooManyOperations as error:
            if part.stop - start == 1:
                raise LinkError("the server refuses a single operation as too many") from error
            session.limits[kind] = (part.stop - start) // 2
        else:
            start = part.stop


@asynccontextmanager
async def open_session(settings: OpcuaConnection) -> AsyncIterator[Session]:
    """The session; while the body runs it is watched, and a LinkError ends the body when it is lost."""
    logging.getLogger("asyncua").setLevel(
        logging.CRITICAL
    )  # it logs each lost link with a traceback, and passwords' paths
    client = Client(settings.endpoint, timeout=settings.timeout)
    client.name = client.description = f"Edge Gateway on {socket.gethostname()}"
    client.session_timeout = SESSION_MS
    client.secure_channel_timeout = CHANNEL_MS
    session = Session(client)
    try:
        with translated(settings.endpoint):
            await secure(client, settings)
            await client.connect_socket()
            await client.send_hello()
            await client.open_secure_channel()
            await client.create_session()
            await log_in(client, settings)
            await session.learn()
        async with link_group() as group:
            watchers = [group.create_task(_watch(session)), group.create_task(_renew(client))]
            yield session
            for watcher in watchers:
                watcher.cancel()
    finally:
        await _close(client)


async def _watch(session: Session) -> None:
    """Raise LinkError once the connection is gone, or the server no longer answers."""
    state = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_State))
    async with session.client.subscribe_state() as changes:
        while session.alive:
            try:
                await changes.next_change(WATCH_S)
            except TimeoutError:
                with translated("the server no longer answers"):
                    async with asyncio.timeout(WATCH_S):
                        await session.read([state])
    raise LinkError("connection lost")


async def _renew(client: Client) -> None:
    """Renew the secure channel when three quarters of its lifetime have passed (part 4, 5.5.2.1)."""
    while True:
        await asyncio.sleep(0.75 * client.secure_channel_timeout / 1000)
        with translated("renewing the secure channel"):
            await client.open_secure_channel(renew=True)
            client.uaclient.revolve_security_token()


async def _close(client: Client) -> None:
    """Close what is open, within a second; a dead server is not waited for."""
    with suppress(*FOREIGN):
        async with asyncio.timeout(1.0):
            await client.close_session()
            await client.close_secure_channel()
    client.disconnect_socket()
    await asyncio.sleep(0)  # lets the library's cancelled publish loop end
