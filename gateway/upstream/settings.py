"""The `upstreams:` section of the configuration: one broker (or several to try in order) and what goes there, how."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator

from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Duration, File, Level, Secret, Size, exposed, is_loopback, unreadable
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
        return is_loopback(self.host)

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


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OneOrMore = BeforeValidator(_list, json_schema_input_type=str | list[str])


class Tls(Settings):
    """Who is trusted and who we are; without `ca` the system's certificate authorities are trusted."""

    ca: File | None = None
    certificate: File | None = None
    key: File | None = None
    alpn: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=255)]], OneOrMore] | None = None

    @across("certificate", "key")
    def _both(self) -> Iterator[Fault]:
        if self.certificate is None and self.key is not None:
            yield ("key",), "needs certificate"
        if self.certificate is not None and self.key is None:
            yield ("certificate",), "needs key"


class SparkplugSettings(Settings):
    """The keys of `format: sparkplug`."""

    group: Level
    primary_host: Level | None = None
    datatype_in_data: bool = False
    durable: bool = False


def _protocol(value: Any) -> Any:
    """YAML gives the number 5 or the text 3.1.1."""
    if isinstance(value, int) and not isinstance(value, bool) and value == 5:
        return "5"
    if isinstance(value, str) and value in {"5", "3.1.1"}:
        return value
    raise ValueError("expected 5 or 3.1.1")


def _endpoint(url: str) -> str:
    parse_endpoint(url)
    return url


def _topic(template: str) -> str:
    check_template(template)
    return template


def _pattern(pattern: str) -> str:
    check_pattern(pattern)
    return pattern


Protocol = Annotated[Literal["5", "3.1.1"], BeforeValidator(_protocol, json_schema_input_type=Literal[5, "5", "3.1.1"])]
Broker = Annotated[str, AfterValidator(_endpoint)]
Brokers = Annotated[list[Broker], OneOrMore, Field(min_length=1, max_length=16)]
Topic = Annotated[str, AfterValidator(_topic)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class UpstreamSettings(Settings):
    """One upstream. A field's meaning is its line in the configuration's contract."""

    broker: Brokers
    protocol: Protocol = "5"
    username: Annotated[str, Field(min_length=1)] | None = None
    password: Secret | None = None
    tls: Tls | None = None
    format: Literal["json", "columns", "sparkplug"] = "json"
    topic: Topic = "{gateway}/{device}"
    window: Annotated[int, Field(ge=1, le=65535)] = 100
    commands: bool = False
    select: list[Pattern] | None = None
    sparkplug: SparkplugSettings | None = None
    client_id: Level | None = None
    keepalive: Duration = 20.0
    ack_timeout: Duration = 20.0
    max_message: Size = 64 << 10
    time_unit: Literal["ms", "us", "ns"] = "ms"
    compress: Literal["none", "zstd"] = "none"
    insecure: bool = False
    message_expiry: Duration | None = None

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

    @across("broker", "insecure")
    def _encrypted(self) -> Iterator[Fault]:
        for number, endpoint in enumerate(self.endpoints):
            if not (endpoint.tls or endpoint.loopback or self.insecure):
                text = "would send everything unencrypted: use mqtts:// (or wss://), or set insecure: true"
                yield ("broker", number), f"{self.broker[number]} {text}"

    @across("broker", "tls")
    def _has_use_for_tls(self) -> Iterator[Fault]:
        if self.tls is not None and not any(endpoint.tls for endpoint in self.endpoints):
            yield ("tls",), "needs a broker address with mqtts:// or wss://"

    @across("username", "password")
    def _login(self) -> Iterator[Fault]:
        if self.password is not None and self.username is None:
            yield ("password",), "needs username:"

    @across("format", "sparkplug")
    def _sparkplug(self) -> Iterator[Fault]:
        if self.format == "sparkplug" and self.sparkplug is None:
            yield ("format",), "sparkplug needs sparkplug: {group: ...}"
        if self.format != "sparkplug" and self.sparkplug is not None:
            yield ("sparkplug",), "needs format: sparkplug"

    @across("format", "compress")
    def _compressed_once(self) -> Iterator[Fault]:
        if self.compress != "none" and self.format != "json":
            yield ("compress",), "is for format: json; columns are compressed already"

    @across("format", "topic")
    def _whole_blocks(self) -> Iterator[Fault]:
        if self.format == "columns" and "tag" in fields_of(self.topic):
            yield ("topic",), "format: columns sends whole blocks: {tag} can't stand in its topic"

    @across("protocol", "message_expiry")
    def _expires(self) -> Iterator[Fault]:
        if self.message_expiry is not None and self.protocol != "5":
            yield ("message_expiry",), "needs protocol: 5"

    @property
    def endpoints(self) -> list[Endpoint]:
        """The brokers, in the order to try."""
        return [parse_endpoint(url) for url in self.broker]

    def client_id_of(self, gateway: str, upstream: str) -> str:
        """The MQTT client id: stable, so that a broker sees a restart as the same client."""
        return self.client_id or f"{gateway}-{upstream}"

    def findings(self, site: Mapping[str, str] | None) -> list[tuple[str, tuple[str | int, ...], str]]:
        """Faults beyond the model's own: ("error" | "warning" | "machine", path below the upstream, text).

        `site` holds what `gateway.site` gives for the topic's fields; None where that is wrong itself. Looks at files
        and environment.
        """
        found: list[tuple[str, tuple[str | int, ...], str]] = []
        for field in sorted(fields_of(self.topic) & SITE_FIELDS) if site is not None else ():
            value = (site or {}).get(field, "")
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
        if self.format == "sparkplug" and "topic" in self.model_fields_set:
            found.append(("warning", ("topic",), "Sparkplug has topics of its own: this one is not used"))
        if self.format != "json" and "time_unit" in self.model_fields_set:
            found.append(("warning", ("time_unit",), f"is for format: json; {self.format} has a time unit of its own"))
        if self.insecure and all(endpoint.tls or endpoint.loopback for endpoint in self.endpoints):
            found.append(("warning", ("insecure",), "nothing here is sent unencrypted: remove it"))
        return found


def _file_faults(tls: Tls | None) -> Sequence[tuple[str, str]]:
    files = (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)) if tls else ()
    found = [(key, fault) for key, path in files if path is not None and (fault := unreadable(path))]
    if tls and tls.key is not None and (fault := exposed(tls.key)):
        found.append(("key", fault))
    return found
