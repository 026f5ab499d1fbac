from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.sparkplug.host import Host, PrimaryHost

TOPIC = "spBv1.0/STATE/scada"


def said(online: object, time_ms: object) -> bytes:
    return json.dumps({"online": online, "timestamp": time_ms}).encode()


def host() -> PrimaryHost:
    found = PrimaryHost("scada")
    found.connected("one")
    return found


def test_message_flow_phid_wait_without_a_host_is_none() -> None:
    assert PrimaryHost(None).ready


def test_message_flow_phid_wait_online() -> None:
    one = host()
    assert not one.ready
    one.heard(TOPIC, said(online=False, time_ms=1))
    assert not one.ready
    one.heard(TOPIC, said(online=True, time_ms=1))
    assert one.ready


def test_message_flow_phid_wait_id() -> None:
    one = host()
    one.heard("spBv1.0/STATE/other", said(online=True, time_ms=1))
    assert not one.ready


def test_message_flow_phid_wait_timestamp_outlives_the_connection() -> None:
    one = host()
    one.heard(TOPIC, said(online=True, time_ms=10))
    one.connected("one")
    assert not one.ready
    one.heard(TOPIC, said(online=True, time_ms=9))
    assert not one.ready
    one.connected("two")  # its own memory
    one.heard(TOPIC, said(online=True, time_ms=9))
    assert one.ready


def test_operational_behavior_termination_host_offline_timestamp() -> None:
    one = host()
    one.heard(TOPIC, said(online=True, time_ms=10))
    one.heard(TOPIC, said(online=False, time_ms=9))
    assert one.ready
    one.heard(TOPIC, said(online=False, time_ms=10))
    assert one.state is Host.OFFLINE


@pytest.mark.parametrize(
    "payload", [b"ONLINE", b"", b"[1]", b"\xff", said("true", 1), said(online=True, time_ms="1"), said(1, 1)]
)
def test_message_flow_phid_wait_ignores_what_is_no_state(payload: bytes) -> None:
    one = host()
    one.heard(TOPIC, payload)
    assert one.state is Host.UNKNOWN


STATES = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.booleans(), st.integers(0, 5), st.booleans()), max_size=30
)


@given(STATES)
def test_message_flow_phid_wait_and_offline_by_a_plain_model(told: list[tuple[str, bool, int, bool]]) -> None:
    """(broker, online, time, whether the connection is a new one) each."""
    one = host()
    newest: dict[str, int] = {}
    at, online = "one", False
    for broker, says_online, time_ms, is_new in told:
        if is_new or broker != at:
            at, online = broker, False
            one.connected(at)
        one.heard(TOPIC, said(says_online, time_ms))
        if time_ms >= newest.get(at, 0):
            newest[at], online = time_ms, says_online
        assert one.ready == online


@given(st.binary() | st.text().map(str.encode) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["online", "timestamp", "x"]), inner)
       ).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_message_flow_phid_wait_whatever_is_said(payload: bytes) -> None:
    one = host()
    one.heard(TOPIC, payload)
    assert one.state in Host
