"""Value types of the configuration file: names, durations, sizes, files, secrets."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from gateway.runtime.model import Fault, Settings, across

NAME: Final = r"^[A-Za-z0-9_-]+$"
LEVEL: Final = r"^[^/+#\x00-\x1f]+$"  # of a topic
LONGEST_S: Final = 36500 * 86400.0  # in nanoseconds it still fits into 64 bits
LARGEST: Final = 1 << 50
_MOST_CONTENT: Final = 1 << 20  # of a secret or certificate
_DURATION: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)(us|ms|s|m|h|d)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_HOST: Final = re.compile(r"[^\W_](?:[\w.-]*\w)?\.?")
_SIZE: Final = re.compile(r"([0-9]{1,20})(B|KiB|MiB|GiB)")
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PLACEHOLDERS: Final = frozenset({"", "changeme", "change-me", "password", "secret", "todo", "xxx", "example"})


def _duration(value: Any) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a duration such as 250ms, 1s, 5m, 12h or 30d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST_S:
        raise ValueError("expected a duration of at most 36500d")
    return seconds


def as_duration(seconds: float) -> str:
    """Seconds as they stand in the file: `250ms`, `1s`, `30d`."""
    for unit, factor in reversed(_SECONDS.items()):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:g}{unit}"
    return f"{seconds * 1e3:g}ms"


def as_size(size: int) -> str:
    """Bytes as they stand in the file: `64KiB`, `1GiB`."""
    unit, factor = next((unit, factor) for unit, factor in reversed(_BYTES.items()) if size % factor == 0)
    return f"{size // factor}{unit}"


def _positive_duration(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    return seconds


def _size(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("expected a size with its unit, such as 64KiB or 1GiB")
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a size such as 64KiB, 100MiB or 1GiB")
    size = int(match[1]) * _BYTES[match[2]]
    if size > LARGEST:
        raise ValueError(f"expected a size of at most {LARGEST >> 30}GiB")
    return size


def _file(value: Any) -> Any:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("expected the path of a file")
    if "\0" in str(value):
        raise ValueError("a path holds no NUL character")
    if str(value).startswith("~"):
        raise ValueError("~ stands for nobody's home here: write the whole path")
    return Path(value)


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, not {str(value).lower()}")
    return value


DURATION: Final = rf"^{_DURATION.pattern}$"
SIZE: Final = rf"^{_SIZE.pattern}$"
_DURATION_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": DURATION, "examples": ["250ms"]})
_SIZE_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": SIZE, "examples": ["64KiB"]})

Duration = Annotated[float, BeforeValidator(_positive_duration), _DURATION_SCHEMA]  # seconds, above zero
ZeroDuration = Annotated[float, BeforeValidator(_duration), _DURATION_SCHEMA]  # seconds, zero allowed
Size = Annotated[int, BeforeValidator(_size), _SIZE_SCHEMA]  # bytes
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=64)]
Level = Annotated[str, StringConstraints(pattern=LEVEL, max_length=256)]  # one level of a topic
File = Annotated[Path, BeforeValidator(_file, json_schema_input_type=Path)]
NumberOf = BeforeValidator(_number)  # before a Literal of numbers, which takes true for 1


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        try:
            ipaddress.IPv6Address(value)
        except ValueError:
            text = "expected a host's name or address and nothing else; its port stands in port:"
            raise ValueError(text) from None
    return value


Host = Annotated[str, AfterValidator(_host)]  # a name, an IPv4 or an IPv6 address


class Limits(Settings):
    """The least and the largest value, in engineering units."""

    min: float | None = None
    max: float | None = None

    @across("min", "max")
    def _in_order(self) -> Iterator[Fault]:
        if self.min is not None and self.max is not None and self.min > self.max:
            yield ("min",), f"min ({self.min:g}) is above max ({self.max:g})"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this machine without leaving it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unreadable(path: Path) -> str:
    """Why a file can't be read, empty where it can, or where its whole folder is not on this machine.

    A configuration is often checked on a laptop, where /etc/gateway does not exist: nothing can be said there.
    """
    if not path.parent.exists():
        return ""
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"can't be read: {error.strerror or error}: {path}"


def is_placeholder(text: str) -> bool:
    """Whether a secret is none: empty, or what examples show in its place."""
    return text.strip().lower() in _PLACEHOLDERS


def _plain_name(value: str) -> str:
    if "/" in value or value in {"", ".", ".."}:
        raise ValueError("expected a credential's name, which is no path")
    return value


def exposed(path: Path) -> str:
    """Why a secret's file is no secret, empty where others can't read it or it isn't here."""
    try:
        open_to_all = stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH
    except OSError:
        return ""
    return f"{path} can be read by everybody: chmod o-r" if open_to_all else ""


class Secret(Settings):
    """A reference to a secret, never the secret: a file, an environment variable or a systemd credential."""

    file: File | None = None
    env: Annotated[str, Field(min_length=1)] | None = None
    credential: Annotated[str, AfterValidator(_plain_name)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_reference(cls, value: Any) -> Any:
        if not isinstance(value, (dict, Secret)):
            raise ValueError("secrets never stand in the file: use {file: ...}, {env: ...} or {credential: ...}")
        return value

    @across("file", "env", "credential")
    def _exactly_one(self) -> Iterator[Fault]:
        if sum(source is not None for source in (self.file, self.env, self.credential)) != 1:
            yield (), "expected exactly one of file, env and credential"

    def problem(self) -> str:
        """Why the secret can't be used now, empty where it can; a credential outside its unit is no problem."""
        if self.credential is not None and "CREDENTIALS_DIRECTORY" not in os.environ:
            return ""
        if self.file is not None and (not self.file.parent.exists() or unreadable(self.file)):
            return unreadable(self.file)
        try:
            text = self.read()
            if self.file is not None and (problem := exposed(self.file)):
                return problem
        except OSError as error:
            if self.credential is not None and isinstance(error, PermissionError):
                return ""  # only the unit's main process may read them, not the check before a reload
            return f"can't be read: {error.strerror or error}"
        except UnicodeDecodeError:
            return "is no UTF-8 text"
        except KeyError:
            return f"environment variable {self.env} is not set"
        return "is a placeholder" if is_placeholder(text) else ""

    def read(self) -> str:
        """The secret without a trailing newline; OSError or KeyError where it can't be had."""
        if self.env is not None:
            return os.environ[self.env]
        return self._place().read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")

    def _place(self) -> Path:
        if self.file is not None:
            return self.file
        return Path(os.environ["CREDENTIALS_DIRECTORY"]) / str(self.credential)

    def content(self) -> bytes:
        """What the secret is now, empty where it can't be had."""
        if self.env is not None:
            return os.environ.get(self.env, "").encode()
        if self.credential is not None and "CREDENTIALS_DIRECTORY" not in os.environ:
            return b""
        return _content(self._place())

    def __str__(self) -> str:
        source = "file" if self.file else "env" if self.env else "credential"
        return f"{{{source}: {self.file or self.env or self.credential}}}"


def fingerprint(settings: Settings) -> str:
    """Names what the files and secrets behind these settings hold now: another one once somebody renewed them."""
    digest = hashlib.blake2b(digest_size=16)
    for content in _behind(settings):
        digest.update(hashlib.blake2b(content).digest())
    return digest.hexdigest()


def _behind(settings: Settings) -> Iterator[bytes]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Secret):
            yield value.content()
        elif isinstance(value, Path):
            yield _content(value)
        elif isinstance(value, Settings):
            yield from _behind(value)


def _content(file: Path) -> bytes:
    try:
        if not file.is_file():
            return b""
        with file.open("rb") as opened:
            return opened.read(_MOST_CONTENT)
    except OSError:
        return b""
