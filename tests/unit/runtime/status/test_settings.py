from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.runtime.status.settings import Address, StatusSettings

TOKEN = {"file": "/etc/gateway/secrets/status"}


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:8080", Address("::1", 8080)),
        ("127.5.5.5:1", Address("127.5.5.5", 1)),
    ],
)
def test_loopback_needs_no_token(listen: str, address: Address) -> None:
    settings = StatusSettings.model_validate({"listen": listen})
    assert settings.address == address
    assert address.loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.168.1.5:80", "gateway.plant.local:8080"])
def test_beyond_loopback_a_token_is_required(listen: str) -> None:
    with pytest.raises(ValidationError, match="a token is required"):
        StatusSettings.model_validate({"listen": listen})
    assert StatusSettings.model_validate({"listen": listen, "token": TOKEN}).address is not None


@pytest.mark.parametrize("listen", ["none", None])
def test_none_switches_it_off(listen: str | None) -> None:
    assert StatusSettings.model_validate({"listen": listen}).address is None


@pytest.mark.parametrize(
    "listen", ["8080", "127.0.0.1", ":8080", "127.0.0.1:99999", "[zz]:1", "a b:1", "::1:8080", 8080]
)
def test_anything_else_is_refused(listen: object) -> None:
    with pytest.raises(ValidationError):
        StatusSettings.model_validate({"listen": listen})


def test_the_default_is_this_machine_only() -> None:
    assert StatusSettings().address == Address("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("address", "url"),
    [(Address("127.0.0.1", 80), "http://127.0.0.1:80"), (Address("::1", 8080), "http://[::1]:8080")],
)
def test_url(address: Address, url: str) -> None:
    assert address.url == url
