"""The command line's tools for commissioning: find, read, simulate, replay, decode, show."""

# Each command imports its own parts, so that `check` and `--help` start at once.
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.tools.options import AsJson, ConfigFile, mistakes, writable

commands = typer.Typer()
scan = typer.Typer(
    no_args_is_help=True, help="Find devices and their registers; prints YAML that pastes into a configuration."
)
pki = typer.Typer(no_args_is_help=True, help="Certificates for OPC UA.")
commands.add_typer(scan, name="scan")
commands.add_typer(pki, name="pki")


@commands.command(epilog="Example: gateway demo --seconds 40 --outage 10")
def demo(
    *,
    seconds: Annotated[float | None, typer.Option(min=1, help="end by itself after this time")] = None,
    outage: Annotated[float | None, typer.Option(min=0, help="pull the broker for this long in mid-run")] = None,
) -> None:
    """Show the whole gateway at work: a simulated plant, an embedded broker and the real daemon between them."""
    from gateway.tools.demo import demo as show

    raise typer.Exit(show(seconds, outage))


@commands.command(epilog="Example: gateway probe gateway.yaml")
def probe(
    file: ConfigFile,
    *,
    connection: Annotated[str | None, typer.Option(help="only this connection")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every tag once, singly and in blocks: value, time taken, and any difference between the two."""
    from gateway.tools.probe import probe as look

    with mistakes():
        raise typer.Exit(look(file, as_json=as_json, connection=connection))


@commands.command(epilog="Example: gateway simulate gateway.yaml --remap --out simulated.yaml")
def simulate(
    file: ConfigFile,
    *,
    remap: Annotated[bool, typer.Option("--remap", help="serve on free loopback ports instead")] = False,
    out: Annotated[
        Path | None, typer.Option(callback=writable, help="write the configuration with the addresses in use")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="end by itself after this time")] = None,
) -> None:
    """Serve plausible devices for a configuration, at its addresses or on loopback."""
    from gateway.tools.simulate import simulate as serve

    with mistakes():
        raise typer.Exit(serve(file, remap=remap, out=out, seconds=seconds))


@commands.command(epilog="Example: gateway browse opc.tcp://192.168.10.7:4840 --values")
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

    with mistakes():
        raise typer.Exit(look(url, pattern=pattern, depth=depth, values=values, as_json=as_json, config=config))


@commands.command(epilog="Example: gateway replay gateway.yaml recorded.csv --tag press.temperature --out kept.csv")
def replay(
    file: ConfigFile,
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="time, then a column per tag")],
    *,
    tag: Annotated[str | None, typer.Option(help="take the CSV's value column as this tag")] = None,
    out: Annotated[
        Path | None, typer.Option(callback=writable, help="write what is kept: time,tag,value,quality")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(callback=writable, help="draw both curves (needs edge-gateway[plot])"),
    ] = None,
    suggest: Annotated[bool, typer.Option("--suggest", help="propose a deviation from the noise")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the pipeline would keep of recorded data: ratio, worst error, bytes per reading."""
    from gateway.app.kernels import warm_kernels

    warm_kernels()  # all of them: a part would leave a cache that the daemon takes for an interrupted warm-up
    from gateway.tools.replay import replay as run_through

    with mistakes():
        raise typer.Exit(run_through(file, csv, tag, out, plot, as_json, suggest))


@commands.command(epilog="Example: mosquitto_sub -t '+/press/columns' -F %x | gateway decode")
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

    with mistakes():
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

    with mistakes():
        raise typer.Exit(
            look(port, baudrate=baudrate, parity=parity, units=units, registers=registers, as_json=as_json)
        )


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

    with mistakes():
        make(directory, uri=uri, name=name, days=days, overwrite=overwrite)


@pki.command("server", epilog="Example: gateway pki server opc.tcp://192.168.10.7:4840 /etc/gateway/pki/robot.der")
def pki_server(
    url: Annotated[str, typer.Argument(metavar="URL", help="opc.tcp://HOST:PORT")],
    file: Annotated[Path, typer.Argument(metavar="FILE", callback=writable, help="where the certificate goes")],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is there")] = False,
) -> None:
    """Save the certificate an OPC UA server shows, and print what to compare before it is trusted."""
    from gateway.tools.pki_server import pki_server as fetch

    with mistakes():
        fetch(url, file, overwrite=overwrite)
