"""`gateway browse`: the variables of an OPC UA server, as YAML that pastes into a configuration. Reads only."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pydantic import ValidationError

from gateway.config import load
from gateway.errors import LinkError
from gateway.field.opcua.session import open_session
from gateway.field.opcua.settings import OpcuaConnection
from gateway.tools.browse_report import Variable, to_json, to_yaml, wanted
from gateway.tools.browse_tree import describe, walk
from gateway.tools.progress import tell


def browse(
    url: str,
    *,
    pattern: str | None = None,
    depth: int = 8,
    values: bool = False,
    as_json: bool = False,
    config: Path | None = None,
) -> int:
    """Print the variables of the server at `url`; exit code 0 if there are any, else 1.

    LinkError, ConfigError, ValueError with a text for people.
    Without `config` the session is anonymous and unsecured; with it, security and login are those of the
    configuration's connection to the same endpoint.
    """
    variables = asyncio.run(_browse(_settings(url, config), pattern, depth, values=values))
    if as_json:
        print(json.dumps(to_json(url, variables), indent=2))
    elif variables:
        print(to_yaml(url, variables), end="")
    if not variables:
        print("gateway: no variable found", file=sys.stderr)
    return 0 if variables else 1


def _settings(url: str, config: Path | None) -> OpcuaConnection:
    if config is not None:
        for bus in load(config).buses.values():
            if isinstance(bus.settings, OpcuaConnection) and bus.settings.endpoint == url:
                return bus.settings
        raise ValueError(f"{config} has no connection to {url}")
    entry = {"driver": "opcua", "endpoint": url, "devices": {"any": {"tags": {"any": {"node": "i=2258"}}}}}
    try:
        return OpcuaConnection.model_validate(entry)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


async def _browse(settings: OpcuaConnection, pattern: str | None, depth: int, *, values: bool) -> list[Variable]:
    async with open_session(settings) as session:
        tell(f"connected to {settings.endpoint}")
        places = [place async for place in walk(session, depth, _progress)]
        kept = [place for place in places if wanted(Variable(place[0], place[1].to_string(), ""), pattern)]
        tell(f"{len(places)} variables, {len(kept)} wanted")
        found = await describe(session, kept, values=values)
    if not places:
        raise LinkError(f"{settings.endpoint}: the server shows no variable")
    return found


def _progress(level: int, nodes: int) -> None:
    tell(f"level {level}: {nodes} nodes", fleeting=True)
