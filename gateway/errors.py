"""The few errors of the gateway, named by what the caller does about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


class GatewayError(Exception):
    """Base of all errors a component raises on purpose; anything else is a bug."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault in a configuration file: where it stands, what is wrong, what was probably meant."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}{hint}"

    def as_dict(self) -> dict[str, object]:
        """The finding as `check --json` prints it."""
        return asdict(self)


@dataclass
class ConfigError(GatewayError):
    """The configuration is wrong: the caller prints every finding and ends with exit code 78."""

    findings: Sequence[Finding]
    warnings: Sequence[Finding] = field(default=())

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


class LinkError(GatewayError):
    """A link (port, socket, session) is lost: supervise waits with backoff and opens it again."""


class RefusedError(LinkError):
    """The other side refuses us (credentials, licence, duplicate id): supervise waits the longest backoff at once."""


class SpoolError(GatewayError):
    """The disk fails: go on in memory within the bound, say so, try the disk again."""


class CodecError(GatewayError):
    """Bytes that are no valid block: nothing was decoded, nothing was read out of bounds."""


class WriteError(GatewayError):
    """A write was not done; `status` is one of wire.md's words (denied, timeout, failed, ...).

    `readback` is the engineering value the device holds instead, where it was read.
    """

    def __init__(self, status: str, message: str = "", *, readback: float | str | None = None) -> None:
        super().__init__(message or status)
        self.status = status
        self.readback = readback
