"""The command line. Each command imports what it needs when it runs, so that `--help` and `check` start at once."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import __version__
from gateway.errors import ConfigError, GatewayError

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

ConfigFile = Annotated[Path, typer.Argument(metavar="FILE", help="the configuration, one YAML file")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def _version(*, value: bool) -> None:
    if value:
        print(f"gateway {__version__}")
        raise typer.Exit


scan = typer.Typer(
    no_args_is_help=True, help="Find devices and their registers; prints YAML that pastes into a configuration."
)
audit = typer.Typer(no_args_is_help=True, help="The log of every write.")
spool = typer.Typer(no_args_is_help=True, help="What waits to be delivered.")
pki = typer.Typer(no_args_is_help=True, help="The gateway's own certificate for OPC UA.")
app.add_typer(scan, name="scan")
app.add_typer(audit, name="audit")
app.add_typer(spool, name="spool")
app.add_typer(pki, name="pki")

DEFAULT_CONFIG = Path("/etc/gateway/gateway.yaml")
SpoolFile = Annotated[Path, typer.Argument(metavar="FILE", help="a configuration, or the spool's file itself")]
OptionalConfigFile = Annotated[Path, typer.Argument(metavar="[FILE]", help="the daemon's configuration")]


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
def check(file: ConfigFile, *, as_json: AsJson = False) -> None:
    """Check a configuration: every error at once with line and column. Exit code 0 valid, 78 not, 66 no such file."""
    from gateway.config import load

    try:
        configuration = load(file)
    except ConfigError as error:
        _print_findings(list(error.findings), list(error.warnings), as_json=as_json)
        raise typer.Exit(EXIT_CONFIG) from error
    _print_findings([], list(configuration.warnings), as_json=as_json)
    if not as_json:
        devices = sum(1 for _ in configuration.devices())
        print(f"{file}: valid: {devices} devices, {len(configuration.tags)} tags")


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


@app.command(epilog="Example: gateway demo --seconds 40 --outage 10")
def demo(
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="end by itself after this time")] = None,
    outage: Annotated[float | None, typer.Option(min=0, help="pull the broker for this long in mid-run")] = None,
) -> None:
    """Show the whole gateway at work: a simulated plant, an embedded broker and the real daemon between them."""
    from gateway.tools.demo import demo as show

    raise typer.Exit(show(seconds, outage))


@app.command(epilog="Example: gateway probe gateway.yaml")
def probe(
    file: ConfigFile,
    *,
    connection: Annotated[str | None, typer.Option(help="only this connection")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every tag once, singly and in blocks: value, time taken, and any difference between the two."""
    from gateway.tools.probe import probe as look

    with _mistakes():
        raise typer.Exit(look(file, as_json=as_json, connection=connection))


@app.command(epilog="Example: gateway simulate gateway.yaml --remap --out simulated.yaml")
def simulate(
    file: ConfigFile,
    *,
    remap: Annotated[bool, typer.Option("--remap", help="serve on free loopback ports instead")] = False,
    out: Annotated[Path | None, typer.Option(help="write the configuration with the addresses in use")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="end by itself after this time")] = None,
) -> None:
    """Serve plausible devices for a configuration, at its addresses or on loopback."""
    from gateway.tools.simulate import simulate as serve

    with _mistakes():
        raise typer.Exit(serve(file, remap=remap, out=out, seconds=seconds))


@app.command(epilog="Example: gateway browse opc.tcp://192.168.10.7:4840 --values")
def browse(
    url: Annotated[str, typer.Argument(metavar="URL", help="opc.tcp://HOST:PORT")],
    *,
    pattern: Annotated[str | None, typer.Option("--filter", help="only variables whose path holds this text")] = None,
    depth: Annotated[int, typer.Option(min=1, max=64, help="how deep to look")] = 8,
    values: Annotated[bool, typer.Option("--values", help="show the live values")] = False,
    config: Annotated[Path | None, typer.Option(help="log in as this configuration does")] = None,
    as_json: AsJson = False,
) -> None:
    """List the variables of an OPC UA server as YAML that pastes into a configuration."""
    from gateway.tools.browse import browse as look

    with _mistakes():
        raise typer.Exit(look(url, pattern=pattern, depth=depth, values=values, as_json=as_json, config=config))


@app.command(epilog="Example: gateway replay gateway.yaml recorded.csv --tag press.temperature --out kept.csv")
def replay(
    file: ConfigFile,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="time, then a column per tag")],
    *,
    tag: Annotated[str | None, typer.Option(help="take the CSV's value column as this tag")] = None,
    out: Annotated[Path | None, typer.Option(help="write what is kept: time,tag,value,quality")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw recorded against reconstructed (needs edge-gateway[plot])")
    ] = None,
    suggest: Annotated[bool, typer.Option("--suggest", help="propose a deviation from the noise")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the pipeline would keep of recorded data: ratio, worst error, bytes per reading."""
    from gateway.app.kernels import warm_kernels

    warm_kernels()  # all of them: a part would leave a cache that the daemon takes for an interrupted warm-up
    from gateway.tools.replay import replay as run_through

    with _mistakes():
        raise typer.Exit(run_through(file, csv, tag, out, plot, as_json, suggest))


@app.command(epilog="Example: gateway write gateway.yaml press.setpoint 900")
def write(
    file: ConfigFile,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="full name, as press.setpoint")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="engineering value: a number, true, false or text")],
) -> None:
    """Write one tag through the running daemon, with all its checks; prints the value read back."""
    from gateway.tools.remote import ask, typed

    result = ask(file, "write", {"tag": tag, "value": typed(file, tag, value)})
    print(json.dumps(result, ensure_ascii=False))
    raise typer.Exit(0 if result.get("status") == "ok" else 1)


@app.command(epilog="Example: gateway acknowledge gateway.yaml press.temperature")
def acknowledge(file: ConfigFile, tag: Annotated[str, typer.Argument(metavar="TAG", help="full name")]) -> None:
    """Acknowledge a tag's alarm in the running daemon."""
    from gateway.tools.remote import ask

    print(json.dumps(ask(file, "acknowledge", {"tag": tag})))


@app.command(epilog="Example: gateway reload /etc/gateway/gateway.yaml")
def reload(file: SpoolFile = Annotated[Path, typer.Argument(metavar="FILE", help="a configuration, or the spool's file itself")]
OptionalConfigFile = DEFAULT_CONFIG) -> None:
    """Let the running daemon read its configuration again; a wrong one changes nothing."""
    from gateway.tools.remote import ask

    result = ask(file, "reload", {})
    print(json.dumps(result, ensure_ascii=False))
    raise typer.Exit(0 if result.get("result") == "applied" else 1)


@app.command(epilog="Example: gateway trace press")
def trace(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="as in the configuration")],
    file: SpoolFile = Annotated[Path, typer.Argument(metavar="FILE", help="a configuration, or the spool's file itself")]
OptionalConfigFile = DEFAULT_CONFIG,
) -> None:
    """Print every frame of one device of the running daemon until Ctrl-C."""
    from gateway.tools.remote import follow

    follow(file, "trace", {"device": device})


@scan.command("modbus-tcp", epilog="Example: gateway scan modbus-tcp 192.168.10.5 --units 1-4")
def scan_modbus_tcp(
    host: Annotated[str, typer.Argument(metavar="HOST")],
    *,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 502,
    rtu: Annotated[bool, typer.Option("--rtu", help="RTU frames over TCP (a transparent converter)")] = False,
    units: Annotated[str, typer.Option(help="unit ids to try")] = "1-16,247,255",
    registers: Annotated[str, typer.Option(help="addresses to try")] = "0-999",
    as_json: AsJson = False,
) -> None:
    """Find units behind a Modbus TCP server and the registers that answer; reads only, gently paced."""
    from gateway.tools.scan import scan_modbus_tcp as look

    with _mistakes():
        raise typer.Exit(look(host, port=port, rtu=rtu, units=units, registers=registers, as_json=as_json))


@scan.command("modbus-rtu", epilog="Example: gateway scan modbus-rtu /dev/serial/by-id/usb-FTDI-if00 --baudrate 19200")
def scan_modbus_rtu(
    port: Annotated[str, typer.Argument(metavar="PORT", help="the serial port")],
    *,
    baudrate: Annotated[int | None, typer.Option(help="only this one")] = None,
    parity: Annotated[str | None, typer.Option(help="only this one: none, even or odd")] = None,
    units: Annotated[str, typer.Option(help="unit ids to try")] = "1-16",
    registers: Annotated[str, typer.Option(help="addresses to try")] = "0-299",
    as_json: AsJson = False,
) -> None:
    """Find baud rate, parity and units of a serial line and the registers that answer; reads only."""
    from gateway.tools.scan import scan_modbus_rtu as look

    with _mistakes():
        raise typer.Exit(
            look(port, baudrate=baudrate, parity=parity, units=units, registers=registers, as_json=as_json)
        )


@app.command(epilog="Example: mosquitto_sub -t '+/press/columns' -C 1 -N | gateway decode --dictionary dictionaries/")
def decode(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[PAYLOAD]...", help="default: standard input")] = None,
    *,
    dictionary: Annotated[Path | None, typer.Option(help="the retained dictionary, or a folder with several")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of JSON lines")] = False,
    time_unit: Annotated[str, typer.Option(help="ms, us or ns")] = "ms",
) -> None:
    """Print the readings of columns payloads (raw, or a line of hexadecimal digits each)."""
    from gateway.tools.decode import print_payloads

    if time_unit not in {"ms", "us", "ns"}:
        raise typer.BadParameter("expected ms, us or ns", param_hint="--time-unit")
    print_payloads(files or [], dictionary, as_csv=as_csv, time_unit=time_unit)


@app.command(epilog="Example: gateway status http://127.0.0.1:8080")
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
    print(f"{file}: {text}", file=sys.stdout if whole else sys.stderr)
    raise typer.Exit(0 if whole else 1)


@pki.command("new", epilog="Example: gateway pki new /etc/gateway/pki")
def pki_new(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="where own.der and own.pem go")],
    *,
    uri: Annotated[str, typer.Option(help="application URI; default urn:<host>:edge-gateway")] = "",
    name: Annotated[str, typer.Option(help="common name, as people see it in the server")] = "Edge Gateway",
    days: Annotated[int, typer.Option(min=1, max=36500, help="validity")] = 3650,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is there")] = False,
) -> None:
    """Make the key and certificate with which the gateway shows itself to OPC UA servers."""
    from gateway.tools.pki import pki_new as make

    with _mistakes():
        make(directory, uri=uri, name=name, days=days, overwrite=overwrite)


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    """A tool's ValueError is a user's mistake, told in one line."""
    try:
        yield
    except ValueError as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def main() -> None:
    """Run a command; a user's mistake ends in one line on stderr, never in a traceback."""
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    except FileNotFoundError as error:
        print(f"gateway: no such file: {error.filename}", file=sys.stderr)
        sys.exit(EXIT_NO_INPUT)
    except (GatewayError, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
