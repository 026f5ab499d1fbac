"""The top of the configuration file; everything below stands beside its component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.runtime.model import Settings
from gateway.runtime.settings import Duration, Level, Name
from gateway.runtime.status.settings import StatusSettings
from gateway.spool.settings import SpoolSettings
from gateway.upstream.settings import UpstreamSettings


class Site(Settings):
    """Where the gateway stands in the plant (ISA-95), usable in topics."""

    enterprise: Level | None = None
    site: Level | None = None
    area: Level | None = None
    line: Level | None = None


class Location(Settings):
    """Where the gateway stands on earth, in the state message."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class GatewaySettings(Settings):
    """Who this gateway is: in topics, client id and the Sparkplug node."""

    name: Name
    site: Site = Site()
    location: Location | None = None


class Defaults(Settings):
    """What holds where nothing nearer says otherwise."""

    every: Duration = 1.0


class LogSettings(Settings):
    """How much is logged; single devices may be louder or quieter."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    devices: Mapping[Name, Literal["debug", "info", "warning", "error"]] = {}


class Root(Settings):
    """The whole file. Connections, steps and derived tags are validated by their own models (see load.py)."""

    gateway: GatewaySettings
    defaults: Defaults = Defaults()
    profiles: Mapping[Name, list[Any]] = {}
    connections: Annotated[Mapping[Name, Any], Field(min_length=1)]
    derived: Any = None
    spool: SpoolSettings = SpoolSettings()
    upstreams: Annotated[Mapping[Name, UpstreamSettings], Field(min_length=1)]
    status: StatusSettings = StatusSettings()
    shutdown_timeout: Duration = 10.0
    log: LogSettings = LogSettings()
