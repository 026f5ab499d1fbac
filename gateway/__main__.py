"""The command line. Each command imports what it needs when it runs, so that `--help` and `check` start at once."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from gateway import __version__
from gateway.errors import ConfigError, GatewayError
from gateway.runtime.printable import in_words
from gateway.tools import commission, operate
from gateway.tools.options import AsJson, ConfigFile

EXIT_CONFIG = 78  # sysexits EX_CONFIG: systemd does not restart
EXIT_NO_INPUT = 66  # sysexits EX_NOINPUT

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Edge gateway: polls PLCs, meters and sensors, compresses with bounded error, delivers over MQTT.",
)


def _version(*, value: bool) -> None:
    if value:
        print(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    del version


@app.command(epilog="Example: gateway run /etc/gateway/gateway.yaml")
def run(file: ConfigFile) -> None:
    """Run the daemon until it is told to stop (SIGTERM); SIGHUP reloads the configuration."""
    from gateway.app import run_daemon

    raise typer.Exit(run_daemon(file))


@app.command(epilog="Example: gateway check gateway.yaml")
def check(
    file: ConfigFile,
    *,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print only what is wrong")] = False,
) -> None:
    """Check a configuration: every error at once with line and column. Exit code 0 valid, 78 not, 66 no such file."""
    from gateway.config import load

    try:
        configuration = load(file)
    except ConfigError as error:
        _print_findings(list(error.findings), list(error.warnings), as_json=as_json)
        raise typer.Exit(EXIT_CONFIG) from error
    _print_findings([], list(configuration.warnings), as_json=as_json)
    if not as_json and not quiet:
        from gateway.tools.tags import addresses

        devices = sum(1 for _ in configuration.devices())
        print(f"{file}: valid: {devices} devices, {len(configuration.tags)} tags")
        for line in addresses(configuration):
            print(line)


def _print_findings(errors: list[Any], warnings: list[Any], *, as_json: bool) -> None:
    if as_json:
        report = {
            "valid": not errors,
            "errors": [finding.as_dict() for finding in errors],
            "warnings": [finding.as_dict() for finding in warnings],
        }
        print(json.dumps(report, indent=2))
        return
    for finding in errors:
        print(finding, file=sys.stderr)
    for finding in warnings:
        print(f"{finding} [warning]", file=sys.stderr)


@app.command(epilog="Example: gateway tags gateway.yaml --json")
def tags(file: ConfigFile, *, as_json: AsJson = False) -> None:
    """Show every tag a configuration gives: address in both notations, type, unit, interval, steps."""
    from gateway.tools.tags import print_tags

    print_tags(file, as_json=as_json)


@app.command(epilog="Example: gateway schema > gateway.schema.json")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from gateway.config.schema import schema as build

    print(json.dumps(build(), indent=2))


@app.command(epilog="Example: gateway warm")
def warm(*, as_json: AsJson = False) -> None:
    """Compile every kernel into the cache, so that the daemon starts fast; done at install time."""
    from gateway.app.kernels import warm_kernels

    def progress(name: str, number: int, count: int) -> None:
        print(f"[{number + 1}/{count}] {name}", file=sys.stderr)

    report = warm_kernels(None if as_json else progress)
    where = str(report.cache.directory) if report.cache.directory else ""
    if as_json:
        figures = {"kernels": report.kernels, "compiled": report.compiled, "seconds": round(report.seconds, 3)}
        print(json.dumps({**figures, "cache": where, "problem": report.problem}))
        return
    print(
        f"{report.kernels} kernels ready, {report.compiled} compiled, {report.seconds:.1f} s, cache: {where or 'none'}"
    )
    if report.problem:
        print(f"gateway: {report.problem}", file=sys.stderr)


app.add_typer(commission.commands)
app.add_typer(operate.commands)


def main() -> None:
    """Run a command; a user's mistake ends in one line on stderr, never in a traceback."""
    _open_closed_streams()
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    except FileNotFoundError as error:
        print(f"gateway: no such file: {error.filename}", file=sys.stderr)
        sys.exit(EXIT_NO_INPUT)
    except GatewayError as error:
        print(f"gateway: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"gateway: {where}{in_words(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _open_closed_streams() -> None:
    """Where stdout or stderr is closed (`>&-`) Python has none, and the next file opened would get its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # for the whole run


if __name__ == "__main__":
    main()
