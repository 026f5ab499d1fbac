from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.status.access import FAILURES, SESSION_S, Access, is_own_name, is_own_page

TOKEN = "correct horse battery staple"  # noqa: S105  # a test's token


class Clocked:
    def __init__(self, token: str | None = TOKEN) -> None:
        self.now = 1_800_000_000.0
        self.access = Access(token, lambda: self.now)


def test_without_a_token_everybody_on_the_machine_may_look() -> None:
    access = Clocked(None).access
    assert not access.required
    assert access.allowed("", "", "127.0.0.1")


def test_bearer() -> None:
    access = Clocked().access
    assert access.allowed(f"Bearer {TOKEN}", "", "a")
    assert access.allowed(f"bearer  {TOKEN}", "", "a")
    assert not access.allowed("", "", "a")
    assert not access.allowed(f"Bearer {TOKEN}x", "", "a")
    assert not access.allowed(f"Basic {TOKEN}", "", "a")


def test_a_session_ends_and_cannot_be_prolonged() -> None:
    bench = Clocked()
    cookie = bench.access.session()
    assert bench.access.allowed("", cookie, "a")
    until, _, signature = cookie.partition(".")
    assert not bench.access.allowed("", f"{int(until) + 1}.{signature}", "a")
    bench.now += SESSION_S + 1
    assert not bench.access.allowed("", cookie, "a")


def test_a_session_of_another_start_is_worthless() -> None:
    assert not Clocked().access.allowed("", Clocked().access.session(), "a")


@given(st.text())
def test_no_other_cookie_lets_in(cookie: str) -> None:
    assert not Clocked().access.allowed("", cookie, "a")


def test_guessing_is_slowed_down_by_address() -> None:
    bench = Clocked()
    for _ in range(FAILURES):
        assert not bench.access.token("wrong", "thief")
    assert bench.access.blocked("thief")
    assert not bench.access.token(TOKEN, "thief")
    assert bench.access.token(TOKEN, "engineer")
    bench.now += 61
    assert bench.access.token(TOKEN, "thief")


def test_a_network_of_one_customer_counts_as_one() -> None:
    access = Clocked().access
    for number in range(FAILURES):
        access.token("wrong", f"2001:db8:1:2::{number:x}")
    assert access.blocked("2001:db8:1:2:ffff::1%eth0")
    assert not access.blocked("2001:db8:1:3::1")
    for _ in range(FAILURES):
        access.token("wrong", "::ffff:10.0.0.1")
    assert access.blocked("10.0.0.1")


def test_every_refusal_is_told() -> None:
    told: list[str] = []
    access = Access(TOKEN, refused=told.append)
    for _ in range(FAILURES + 5):
        access.token("wrong", "thief")
    access.allowed("Bearer wrong", "", "other")
    access.allowed(f"Bearer {TOKEN}", "", "engineer")
    access.allowed("", "", "nobody")
    assert told == ["thief"] * (FAILURES + 5) + ["other"]


@pytest.mark.parametrize(
    ("site", "origin", "own"),
    [
        ("same-origin", "https://gw.example", True),  # behind a proxy that gives us another Host
        ("none", "", True),
        ("cross-site", "", False),
        ("same-site", "http://box-3:8080", False),
        ("", "http://box-3:8080", True),
        ("", "http://BOX-3:8080", True),
        ("", "http://box-3:80", False),
        ("", "http://evil.example", False),
        ("", "null", False),
        ("", "", True),  # no browser
    ],
)
def test_forms_of_other_pages(site: str, origin: str, own: bool) -> None:
    assert is_own_page(site, origin, "box-3:8080") is own


def test_remembered_addresses_are_bounded() -> None:
    access = Clocked().access
    for number in range(5000):
        access.token("wrong", f"10.0.{number // 256}.{number % 256}")
    assert len(access._failures) <= 256


@pytest.mark.parametrize(
    "host", ["", "localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5", "Box-3", "box-3:80"]
)
def test_own_names(host: str) -> None:
    assert is_own_name(host, "box-3")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.com"])
def test_foreign_names(host: str) -> None:
    assert not is_own_name(host, "box-3")
