"""The command line's part for a running daemon and what it left: status, write, reload, trace, spool, audit."""

# Each command imports its own parts, so that `check` and `--help` start at once.
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.tools.options import DEFAULT_CONFIG, AsJson, ConfigFile, OptionalConfigFile, SpoolFile

commands = typer.Typer()
spool = typer.Typer(no_args_is_help=True, help="What waits to be delivered.")
audit = typer.Typer(no_args_is_help=True, help="The log of every write.")
commands.add_typer(spool, name="spool")
commands.add_typer(audit, name="audit")


@commands.command(epilog="Example: gateway status http://127.0.0.1:8080")
def status(
    source: Annotated[
        str, typer.Argument(metavar="[URL]", help="a status page, or a configuration on this machine")
    ] = str(DEFAULT_CONFIG),
    *,
    token: Annotated[Path | None, typer.Option(help="file with the status page's token")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a running daemon, live in a terminal."""
    from gateway.tools.remote import socket_of
    from gateway.tools.status import show_status

    place = source if "://" in source else socket_of(Path(source))
    show_status(place, token, as_json=as_json)


@commands.command(epilog="Example: gateway write gateway.yaml press.setpoint 900")
def write(
    file: ConfigFile,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="full name, as press.setpoint")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="engineering value: a number, true, false or text")],
) -> None:
    """Write one tag through the running daemon, with all its checks; prints the value read back."""
    from gateway.tools.remote import ask, not_written, typed

    result = ask(file, "write", {"tag": tag, "value": typed(file, tag, value)})
    print(json.dumps(result, ensure_ascii=False))
    if result["status"] != "ok":
        print(f"gateway: {tag}: {not_written(result)}", file=sys.stderr)
        raise typer.Exit(1)


@commands.command(epilog="Example: gateway acknowledge gateway.yaml press.temperature")
def acknowledge(file: ConfigFile, tag: Annotated[str, typer.Argument(metavar="TAG", help="full name")]) -> None:
    """Acknowledge a tag's alarm in the running daemon."""
    from gateway.tools.remote import ask

    print(json.dumps(ask(file, "acknowledge", {"tag": tag})))


@commands.command(epilog="Example: gateway reload /etc/gateway/gateway.yaml")
def reload(file: OptionalConfigFile = DEFAULT_CONFIG) -> None:
    """Let the running daemon read its configuration again; a wrong one changes nothing."""
    from gateway.tools.remote import ask

    result = ask(file, "reload", {})
    print(json.dumps(result, ensure_ascii=False))
    if result["result"] != "applied":
        print("\n".join(result.get("errors", ())), file=sys.stderr)
        print("gateway: reload refused, nothing changed", file=sys.stderr)
        raise typer.Exit(1)


@commands.command(epilog="Example: gateway trace press")
def trace(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="as in the configuration")],
    file: OptionalConfigFile = DEFAULT_CONFIG,
) -> None:
    """Print every frame of one device of the running daemon until Ctrl-C."""
    from gateway.tools.remote import follow

    follow(file, "trace", {"device": device})


@spool.command("status", epilog="Example: gateway spool status gateway.yaml")
def spool_status(file: SpoolFile, *, as_json: AsJson = False) -> None:
    """Show how much waits in a spool and for whom; the daemon may be running."""
    from gateway.tools.remote import spool_of
    from gateway.tools.spool import print_status

    print_status(spool_of(file), as_json=as_json)


@spool.command("export", epilog="Example: gateway spool export /var/lib/gateway/spool.db > left.jsonl")
def spool_export(file: SpoolFile) -> None:
    """Print every reading and event of a spool as JSON lines, oldest first; exit code 1 where a block is damaged."""
    from gateway.tools.remote import spool_of
    from gateway.tools.spool import print_export

    raise typer.Exit(1 if print_export(spool_of(file)) else 0)


@audit.command("verify", epilog="Example: gateway audit verify /var/lib/gateway/audit.log")
def audit_verify(file: Annotated[Path, typer.Argument(metavar="FILE", help="the audit log")]) -> None:
    """Check the hash chain of the audit log and its older parts."""
    from gateway.tools.audit import verify

    whole, text = verify(file)
    print(text, file=sys.stdout if whole else sys.stderr)
    raise typer.Exit(0 if whole else 1)
