"""Where the status server listens and who may look."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator

from gateway.runtime.model import Fault, Settings, across
from gateway.runtime.settings import Secret, is_loopback

_LISTEN: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>\d{1,5})")
OFF: Final = "none"


class Address(NamedTuple):
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """The page's address for a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT`; ValueError for anything else."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("expected HOST:PORT such as 127.0.0.1:8080, or none")
    if match["six"]:
        return Address(str(ipaddress.IPv6Address(match["six"])), int(match["port"]))
    return Address(match["host"], int(match["port"]))


def _text(value: Any) -> Any:
    return OFF if value is None else value


def _checked(value: str) -> str:
    if value != OFF:
        parse_address(value)
    return value


Listen = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | None), AfterValidator(_checked)]


class StatusSettings(Settings):
    """The page, `/healthz`, `/metrics` and `/api/v1/*`; beyond loopback only with a token."""

    listen: Listen = "127.0.0.1:8080"
    token: Secret | None = None

    @property
    def address(self) -> Address | None:
        """Where to listen; None where the server is switched off."""
        return None if self.listen == OFF else parse_address(self.listen)

    @across("listen", "token")
    def _token_beyond_loopback(self) -> Iterator[Fault]:
        address = self.address
        if address is not None and not address.loopback and self.token is None:
            text = "a token is required where others than this machine can reach the page (token: {file: ...})"
            yield ("listen",), text
