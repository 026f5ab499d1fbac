"""The `upstreams:` section of the configuration: one broker (or several to try in order) and what goes there, how."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.runtime.settings import Duration, Secret, Settings, Size, unreadable
from gateway.upstream.select import check_pattern
from gateway.upstream.topics import SITE_FIELDS, check_template, fields_of

DEFAULT_PORTS: Final[Mapping[str, int]] = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
MIN_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one broker listens, and how it is spoken to."""

    scheme: str  # mqtt, mqtts, ws, wss
    host: str
    port: int
    path: str  # of a web socket, else empty

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and the server verified."""
        return self.scheme in {"mqtts", "wss"}

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels in a web socket."""
        return self.scheme in {"ws", "wss"}

    @property
    def loopback(self) -> bool:
        """Whether the broker runs on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse_endpoint(url: str) -> Endpoint:
    """The endpoint of `scheme://host[:port][/path]`; ValueError with a text for people where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"expected mqtt://, mqtts://, ws:// or wss://, not {url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password never stand in the address: use username: and password: {file: ...}")
    if not parts.hostname or re.search(r"\s", url):
        raise ValueError(f"no host in {url!r}")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"no valid port in {url!r}") from error
    if port == 0:
        raise ValueError(f"no valid port in {url!r}")
    websocket = parts.scheme in {"ws", "wss"}
    if parts.fragment or (not websocket and (parts.path not in {"", "/"} or parts.query)):
        raise ValueError(f"nothing may follow host and port in {url!r}")
    path = (parts.path or "/mqtt") + (f"?{parts.query}" if parts.query else "") if websocket else ""
    return Endpoint(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], path)


class Tls(Settings):
    """Who is trusted and who we are; without `ca` the system's certificate authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    alpn: list[Annotated[str, StringConstraints(min_length=1, max_length=255)]] | None = None

    @field_validator("alpn", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _both(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self


def _one_level(text: str) -> str:
    if set(text) & set("+/#\0"):
        raise ValueError(f"{text!r} can't stand in a topic: +, /, # and NUL are not allowed")
    return text


SparkplugId = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_one_level)]


class SparkplugSettings(Settings):
    """The keys of `format: sparkplug`."""

    group: SparkplugId
    primary_host: SparkplugId | None = None
    datatype_in_data: bool = False
    durable: bool = False


def _protocol(value: Any) -> Any:
    """YAML gives the number 5 or the text 3.1.1."""
    if isinstance(value, int) and not isinstance(value, bool) and value == 5:
        return "5"
    if isinstance(value, str) and value in {"5", "3.1.1"}:
        return value
    raise ValueError("expected 5 or 3.1.1")


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Protocol = Annotated[Literal["5", "3.1.1"], BeforeValidator(_protocol, json_schema_input_type=Literal[5, "5", "3.1.1"])]
Brokers = Annotated[
    list[str], BeforeValidator(_list, json_schema_input_type=str | list[str]), Field(min_length=1, max_length=16)
]
ClientId = Annotated[str, StringConstraints(pattern=r"^[^\x00+#/]+$", max_length=256)]


class UpstreamSettings(Settings):
    """One upstream. A field's meaning is its line in the configuration's contract."""

    insecure: bool = False  # first, since the address is judged by it
    broker: Brokers
    protocol: Protocol = "5"
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    format: Literal["json", "columns", "sparkplug"] = "json"
    topic: str = "{gateway}/{device}"
    window: Annotated[int, Field(ge=1, le=65535)] = 100
    commands: bool = False
    select: list[str] | None = None
    sparkplug: SparkplugSettings | None = None
    client_id: ClientId | None = None
    keepalive: Duration = 20.0
    ack_timeout: Duration = 20.0
    max_message: Size = 64 << 10
    time_unit: Literal["ms", "us", "ns"] = "ms"
    compress: Literal["none", "zstd"] = "none"
    message_expiry: Duration | None = None

    @field_validator("broker")
    @classmethod
    def _addresses(cls, urls: list[str], info: ValidationInfo) -> list[str]:
        for url in urls:
            endpoint = parse_endpoint(url)
            if not (endpoint.tls or endpoint.loopback or info.data.get("insecure")):
                raise ValueError(
                    f"{url} would send everything unencrypted: use mqtts:// (or wss://), or set insecure: true"
                )
        return urls

    @field_validator("topic")
    @classmethod
    def _template(cls, template: str) -> str:
        check_template(template)
        return template

    @field_validator("select")
    @classmethod
    def _patterns(cls, patterns: list[str] | None) -> list[str] | None:
        for pattern in patterns or ():
            check_pattern(pattern)
        return patterns

    @field_validator("keepalive")
    @classmethod
    def _keepalive(cls, seconds: float) -> float:
        if not 1 <= seconds <= 65535 or seconds != int(seconds):
            raise ValueError("expected whole seconds from 1s to 65535s")
        return seconds

    @field_validator("max_message")
    @classmethod
    def _max_message(cls, size: int) -> int:
        if not MIN_MESSAGE <= size <= 256 << 20:
            raise ValueError("expected 1KiB to 256MiB")
        return size

    @model_validator(mode="after")
    def _together(self) -> UpstreamSettings:
        if self.tls is not None and not any(endpoint.tls for endpoint in self.endpoints):
            raise ValueError("tls: needs a broker address with mqtts:// or wss://")
        if self.password is not None and self.username is None:
            raise ValueError("password: needs username:")
        if self.format == "sparkplug" and self.sparkplug is None:
            raise ValueError("format: sparkplug needs sparkplug: {group: ...}")
        if self.format != "sparkplug" and self.sparkplug is not None:
            raise ValueError("sparkplug: needs format: sparkplug")
        if self.compress != "none" and self.format != "json":
            raise ValueError("compress: is for format: json; columns are compressed already")
        if self.format == "columns" and "tag" in fields_of(self.topic):
            raise ValueError("format: columns sends whole blocks: {tag} can't stand in its topic")
        if self.message_expiry is not None and self.protocol != "5":
            raise ValueError("message_expiry: needs protocol: 5")
        return self

    @property
    def endpoints(self) -> list[Endpoint]:
        """The brokers, in the order to try."""
        return [parse_endpoint(url) for url in self.broker]

    def client_id_of(self, gateway: str, upstream: str) -> str:
        """The MQTT client id: stable, so that a broker sees a restart as the same client."""
        return self.client_id or f"{gateway}-{upstream}"

    def findings(self, site: Mapping[str, str]) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Faults beyond the model's own: ("error" | "warning" | "machine", path below the upstream, text).

        `site` holds what `gateway.site` gives for the topic's fields. Looks at files and environment.
        """
        found: list[tuple[str, tuple[str | int, ...], str]] = []
        for field in sorted(fields_of(self.topic) & SITE_FIELDS):
            value = site.get(field, "")
            if not value:
                found.append(("error", ("topic",), f"{{{field}}} needs gateway.site.{field}"))
            elif re.search(r"[+#\x00]", value):
                found.append(("error", ("topic",), f"gateway.site.{field} holds a character topics can't have"))
        if self.password is not None and (problem := self.password.problem()):
            found.append(("machine", ("password",), problem))
        found.extend(("machine", ("tls", key), text) for key, text in _file_faults(self.tls))
        if self.protocol == "3.1.1":
            text = "3.1.1 hides refusals: a message the broker's access list denies looks delivered"
            found.append(("warning", ("protocol",), text))
        if self.insecure and all(endpoint.tls or endpoint.loopback for endpoint in self.endpoints):
            found.append(("warning", ("insecure",), "nothing here is sent unencrypted: remove it"))
        return found


def _file_faults(tls: Tls | None) -> Sequence[tuple[str, str]]:
    files = (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)) if tls else ()
    return [(key, fault) for key, path in files if path is not None and (fault := unreadable(path))]
