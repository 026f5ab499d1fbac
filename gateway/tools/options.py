"""What the commands share: arguments, and how a user's mistake ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_CONFIG: Final = Path("/etc/gateway/gateway.yaml")

ConfigFile = Annotated[Path, typer.Argument(metavar="FILE", help="the configuration, one YAML file")]
OptionalConfigFile = Annotated[Path, typer.Argument(metavar="[FILE]", help="the daemon's configuration")]
SpoolFile = Annotated[Path, typer.Argument(metavar="FILE", help="a configuration, or the spool's file itself")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def writable(path: Path | None) -> Path | None:
    """Callback of an option that names a file to write: told before the work, not after it."""
    if path is not None and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}")
    return path


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """A tool's ValueError is a user's mistake, told in one line."""
    try:
        yield
    except ValueError as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
