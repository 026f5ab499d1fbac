"""How OPC UA servers are configured: endpoint, trust, login, and the nodes of each device.

Nothing here imports the OPC UA library: a configuration is checked without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Duration, File, Name, Secret, ZeroDuration, is_loopback, unreadable

PORT: Final = 4840
FASTEST_S: Final = 0.001  # the sampling a queue is sized for where the interval is left to the server
_NODE: Final = re.compile(
    r"(?:(?:ns=[0-9]{1,5}|nsu=[^;]+);)?"
    r"(?:i=[0-9]{1,10}|s=.+|g=[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|b=[A-Za-z0-9+/]+=*)"
)

Policy = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
ValueType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
    "string",
]  # fmt: skip


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise ValueError("expected a node id such as ns=2;s=Weld.Current, ns=3;i=1001 or nsu=urn:maker;s=Name")
    numbers = re.match(r"(?:ns=([0-9]+);)?(?:i=([0-9]+)$)?", text)
    if numbers and (int(numbers[1] or 0) > 0xFFFF or int(numbers[2] or 0) > 0xFFFF_FFFF):
        raise ValueError("ns ends at 65535, i at 4294967295")
    return text


def _endpoint(text: str) -> str:
    problem = ValueError("expected opc.tcp://host or opc.tcp://host:port")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme != "opc.tcp" or not parts.hostname or port == 0 or re.search(r"\s", text):
        raise problem
    if parts.username or parts.password:
        raise ValueError("a user name and password don't belong in the endpoint: use username and password")
    return text if port else f"opc.tcp://{parts.netloc.rstrip(':')}:{PORT}{parts.path}"


class Security(Settings):
    """The secure channel. The server's certificate is pinned: without it any server could answer."""

    policy: Policy = "Basic256Sha256"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    certificate: File | None = None
    private_key: File | None = None
    server_certificate: File | None = None

    @across("policy", "certificate", "private_key", "server_certificate")
    def _complete(self) -> Iterator[Fault]:
        missing = [name for name, path in self.files().items() if path is None]
        if self.policy != "None" and missing:
            yield (), f"policy {self.policy} needs {', '.join(missing)}"

    def files(self) -> Mapping[str, Path | None]:
        """The files by their keys."""
        return {
            "certificate": self.certificate,
            "private_key": self.private_key,
            "server_certificate": self.server_certificate,
        }


class OpcuaTag(TagSettings):
    """A variable of the server. `type` is what its values become; it must not be the server's own type."""

    type: ValueType = "float64"
    node: Annotated[str, AfterValidator(_node)]

    def address_text(self) -> str:
        """The node id."""
        return self.node


class OpcuaDevice(DeviceSettings):
    """Some variables of a server, sampled and published together."""

    every: ZeroDuration | None = None  # subscribe: the sampling interval asked for, 0 as fast as the server can
    mode: Literal["subscribe", "poll"] = "subscribe"
    publish: Duration = 0.25
    queue: int | None = Field(None, ge=1, le=100_000)
    history: bool = False
    tags: Mapping[Name, OpcuaTag] = Field(min_length=1)

    @across("mode", "every")
    def _paced(self) -> Iterator[Fault]:
        if self.mode == "poll" and self.every == 0:
            yield ("every",), "a polled device needs an interval above zero"

    def queue_size(self, every: float) -> int:
        """Values the server shall hold per node: two publishes' worth of samples, so that one may come late."""
        return self.queue or 2 * ceil(self.publish / max(every, FASTEST_S)) + 2


class OpcuaConnection(ConnectionSettings):
    """One server."""

    driver: Literal["opcua"]
    endpoint: Annotated[str, AfterValidator(_endpoint)]
    timeout: Duration = 4.0
    security: Security = Security(policy="None")
    username: str | None = Field(None, min_length=1)
    password: Secret | None = None
    user_certificate: File | None = None
    user_private_key: File | None = None
    insecure: bool = False
    devices: Mapping[DeviceName, OpcuaDevice] = Field(min_length=1)

    @property
    def exposed(self) -> bool:
        """Whether values travel beyond this machine in plain text."""
        return self.security.policy == "None" and not is_loopback(urlsplit(self.endpoint).hostname or "")

    @across("username", "password", "security")
    def _protected(self) -> Iterator[Fault]:
        if self.password is None:
            return
        if self.username is None:
            yield ("password",), "needs a username"
        if self.security.policy == "None":
            yield ("password",), "would travel in clear text: set security.policy"

    @across("username", "user_certificate", "user_private_key")
    def _one_login(self) -> Iterator[Fault]:
        if self.user_certificate is None and self.user_private_key is not None:
            yield ("user_private_key",), "needs user_certificate"
        if self.user_certificate is None:
            return
        if self.user_private_key is None:
            yield ("user_certificate",), "needs user_private_key"
        if self.username is not None:
            yield ("user_certificate",), "log in with a certificate or with a username, not both"

    def findings(self, every: Mapping[str, float]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Files and secrets that this machine doesn't have."""
        del every
        user = {"user_certificate": self.user_certificate, "user_private_key": self.user_private_key}
        files: list[tuple[tuple[str, ...], Path | None]] = [((key,), path) for key, path in user.items()]
        files += [(("security", key), path) for key, path in self.security.files().items()]
        found: list[tuple[str, tuple[str | int, ...], str]] = [
            ("machine", place, text) for place, path in files if path is not None and (text := unreadable(path))
        ]
        if self.password is not None and (problem := self.password.problem()):
            found.append(("machine", ("password",), problem))
        if self.exposed and not self.insecure:
            text = "is spoken to in plain text: set security: {...}, or insecure: true where that is wanted"
            found.append(("warning", ("endpoint",), text))
        if self.insecure and not self.exposed:
            found.append(("warning", ("insecure",), "nothing here is sent unencrypted: remove it"))
        return found
