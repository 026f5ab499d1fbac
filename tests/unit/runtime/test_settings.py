from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.runtime.model import Settings
from gateway.runtime.settings import Duration, File, Host, Name, Secret, Size, ZeroDuration

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
ZERO: TypeAdapter[float] = TypeAdapter(ZeroDuration)
SIZE: TypeAdapter[int] = TypeAdapter(Size)
NAME: TypeAdapter[str] = TypeAdapter(Name)
HOST: TypeAdapter[str] = TypeAdapter(Host)
FILE: TypeAdapter[Path] = TypeAdapter(File)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1s", 1.0), ("5m", 300.0), ("12h", 43200.0), ("30d", 2592000.0), ("100us", 1e-4), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.validate_python(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "5",
        5,
        1.5,
        "5 s",
        "s",
        "-1s",
        "1S",
        "1w",
        "",
        None,
        True,
        "1s2s",
        "\u0661s",
        "0s",
        "0ms",
        "36501d",
        "9" * 400 + "d",
    ],
)
def test_what_is_no_duration(value: Any) -> None:
    with pytest.raises(ValidationError):
        DURATION.validate_python(value)


def test_zero_where_it_is_allowed() -> None:
    assert ZERO.validate_python("0ms") == 0.0
    with pytest.raises(ValidationError):
        ZERO.validate_python("-1ms")


@given(st.integers(1, 10**6), st.sampled_from([("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)]))
def test_any_duration(count: int, unit: tuple[str, float]) -> None:
    assert DURATION.validate_python(f"{count}{unit[0]}") == pytest.approx(count * unit[1])


@pytest.mark.parametrize(
    ("text", "count"), [("64KiB", 65536), ("1GiB", 1 << 30), ("100MiB", 100 << 20), ("7B", 7), ("0B", 0)]
)
def test_sizes(text: str, count: int) -> None:
    assert SIZE.validate_python(text) == count


@pytest.mark.parametrize(
    "value", [1024, "64KB", "64kib", "1.5GiB", "-1B", "", None, True, "1048577GiB", "9" * 400 + "B"]
)
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(ValidationError):
        SIZE.validate_python(value)


@pytest.mark.parametrize("name", ["press", "meter-1", "A_b", "x" * 64])
def test_names(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "+", "#", "ä", "x" * 65, "a\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize(
    "host", ["plc", "plc-1.plant.local", "a_b", "192.168.10.5", "::1", "fe80::1", "münchen", "plc."]
)
def test_hosts(host: str) -> None:
    assert HOST.validate_python(host) == host


@pytest.mark.parametrize("host", ["", "a b", " a", "plc:502", "[::1]", "http://plc", "plc/1", "-plc", "a\n", "::zz"])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ValidationError):
        HOST.validate_python(host)


@pytest.mark.parametrize("path", ["", "~/secret", "a\0b", 5, None])
def test_what_is_no_file(path: object) -> None:
    with pytest.raises(ValidationError):
        FILE.validate_python(path)


def test_a_file() -> None:
    assert FILE.validate_python("/etc/gateway/a") == Path("/etc/gateway/a")


def test_unknown_keys_are_refused_and_nothing_changes() -> None:
    class Model(Settings):
        size: int = 1

    with pytest.raises(ValidationError, match="extra_forbidden"):
        Model.model_validate({"sizes": 2})
    with pytest.raises(ValidationError, match="frozen"):
        Model().size = 2


@pytest.mark.parametrize(
    "value", ["hunter2", 5, None, ["a"], {}, {"file": "/a", "env": "B"}, {"text": "hunter2"}, {"env": ""}]
)
def test_a_secret_is_a_reference(value: Any) -> None:
    with pytest.raises(ValidationError):
        Secret.model_validate(value)


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc/shadow", "/etc/shadow", "a/b"])
def test_a_credential_is_no_path(name: str) -> None:
    with pytest.raises(ValidationError, match="no path"):
        Secret(credential=name)


def test_a_secret_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2 and more\r\n")
    file.chmod(0o640)
    secret = Secret(file=file)
    assert secret.read() == "hunter2 and more"
    assert secret.problem() == ""
    assert "hunter2" not in f"{secret} {secret!r}"


def test_a_secret_everybody_can_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2")
    file.chmod(0o644)
    assert "chmod o-r" in Secret(file=file).problem()


@pytest.mark.parametrize("text", ["changeme", "CHANGE-ME\n", "", "password"])
def test_a_placeholder(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(0o600)
    assert Secret(file=file).problem() == "is a placeholder"


def test_missing_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "can't be read" in Secret(file=tmp_path / "none").problem()
    monkeypatch.delenv("GATEWAY_TEST_SECRET", raising=False)
    assert Secret(env="GATEWAY_TEST_SECRET").problem() == "environment variable GATEWAY_TEST_SECRET is not set"
    monkeypatch.setenv("GATEWAY_TEST_SECRET", "hunter2")
    assert Secret(env="GATEWAY_TEST_SECRET").problem() == ""
    assert Secret(env="GATEWAY_TEST_SECRET").read() == "hunter2"


def test_credentials_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert Secret(credential="mqtt").problem() == ""  # outside its unit nobody can tell
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "can't be read" in Secret(credential="mqtt").problem()

    def denied(_: Path, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:  # only the unit's main process may read its credentials
        patched.setattr(Path, "read_text", denied)
        assert Secret(credential="mqtt").problem() == ""
    (tmp_path / "mqtt").write_text("hunter2\n")
    assert Secret(credential="mqtt").read() == "hunter2"
