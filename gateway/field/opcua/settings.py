"""How OPC UA servers are configured: endpoint, trust, login, and the nodes of each device.

Nothing here imports the OPC UA library: a configuration is checked without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from gateway.field.contract import ConnectionSettings, DeviceName, DeviceSettings, TagSettings
from gateway.runtime.settings import Duration, Name, Secret, Settings, ZeroDuration

PORT: Final = 4840
FASTEST_S: Final = 0.001  # the sampling a queue is sized for where the interval is left to the server
_NODE: Final = re.compile(
    r"(?:(?:ns=\d{1,5}|nsu=[^;]+);)?"
    r"(?:i=\d{1,10}|s=.+|g=[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|b=[A-Za-z0-9+/]+=*)"
)

Policy = Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"]
ValueType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
    "string",
]  # fmt: skip


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise ValueError("expected a node id such as ns=2;s=Weld.Current, ns=3;i=1001 or nsu=urn:maker;s=Name")
    return text


def _endpoint(text: str) -> str:
    problem = ValueError("expected opc.tcp://host or opc.tcp://host:port")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise problem
    if parts.username or parts.password:
        raise ValueError("a user name and password don't belong in the endpoint: use username and password")
    return text if port else f"opc.tcp://{parts.netloc.rstrip(':')}:{PORT}{parts.path}"


class Security(Settings):
    """The secure channel. The server's certificate is pinned: without it any server could answer."""

    policy: Policy = "Basic256Sha256"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    certificate: Path | None = None
    private_key: Path | None = None
    server_certificate: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Security:
        files = {
            "certificate": self.certificate,
            "private_key": self.private_key,
            "server_certificate": self.server_certificate,
        }
        missing = [name for name, path in files.items() if path is None]
        if self.policy != "None" and missing:
            raise ValueError(f"policy {self.policy} needs {', '.join(missing)}")
        return self


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

    @field_validator("mode")
    @classmethod
    def _paced(cls, mode: str, info: ValidationInfo) -> str:
        if mode == "poll" and info.data.get("every") == 0:
            raise ValueError("a polled device needs an interval above zero in every")
        return mode

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
    user_certificate: Path | None = None
    user_private_key: Path | None = Field(None, validate_default=True)
    devices: Mapping[DeviceName, OpcuaDevice] = Field(min_length=1)

    @field_validator("password")
    @classmethod
    def _protected(cls, password: Secret | None, info: ValidationInfo) -> Secret | None:
        if password is not None and "username" in info.data and info.data["username"] is None:
            raise ValueError("stands without a username")
        security = info.data.get("security")
        if password is not None and security is not None and security.policy == "None":
            raise ValueError("would travel in clear text: set security.policy")
        return password

    @field_validator("user_private_key")
    @classmethod
    def _one_login(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("user_certificate")
        if (certificate is None) != (key is None) and "user_certificate" in info.data:
            raise ValueError("user_certificate and user_private_key belong together")
        if certificate is not None and info.data.get("username") is not None:
            raise ValueError("log in with a certificate or with a username, not both")
        return key
