from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.readings import Tag, TagTable
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.inbox import orders
from gateway.upstream.sparkplug.proto import Metric, Payload

CATALOG = Catalog(
    TagTable(
        [Tag("d", "i", "int16"), Tag("d", "u", "uint32"), Tag("d", "z.0"), Tag("d", "s", "string"), Tag("e", "i")]
    ),
    None,
)


def read(device: str, **metric: Any) -> Any:
    payload = Payload()
    payload.metrics.append(Metric(**metric))
    return orders(device, payload.SerializeToString(), CATALOG)


def test_operational_behavior_data_commands_ncmd_rebirth_name_and_value() -> None:
    assert read("", name="Node Control/Rebirth", boolean_value=True).rebirth
    assert not read("", name="Node Control/Rebirth", boolean_value=False).rebirth
    assert not read("", name="Node Control/Rebirth", int_value=1).rebirth
    assert not read("d", name="Node Control/Rebirth", boolean_value=True).rebirth


@pytest.mark.parametrize(
    ("metric", "write"),
    [
        ({"name": "i", "int_value": 900}, (0, "d.i", 900)),
        ({"alias": 1, "int_value": 0xFFFFFFFF}, (0, "d.i", -1)),
        ({"name": "u", "int_value": 0xFFFFFFFF}, (1, "d.u", 0xFFFFFFFF)),
        ({"name": "u", "long_value": 0xFFFFFFFF}, (1, "d.u", 0xFFFFFFFF)),
        ({"name": "z/0", "double_value": 1.5}, (2, "d.z.0", 1.5)),
        ({"name": "z/0", "datatype": 3, "int_value": 0xFFFFFFFE}, (2, "d.z.0", -2)),
        ({"name": "s", "string_value": "x"}, (3, "d.s", "x")),
        ({"name": "s", "is_null": True}, (3, "d.s", None)),
        ({"name": "none", "int_value": 1}, (None, "d.none", 1)),
        ({"alias": 5, "int_value": 1}, (None, "d.alias 5", 1)),  # another device's
    ],
)
def test_payloads_name_cmd_requirement(metric: dict[str, Any], write: tuple[int | None, str, object]) -> None:
    assert read("d", **metric).writes == [write]


def test_what_is_no_payload_is_refused() -> None:
    with pytest.raises(ValueError, match="no Sparkplug payload"):
        orders("d", b"\xff\xff", CATALOG)


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["i", "u", "z/0", "s", "Node Control/Rebirth", "none", "\0", "x" * 300]),
        "alias": st.integers(0, 2**64 - 1),
        "datatype": st.integers(0, 2**32 - 1),
        "is_null": st.booleans(),
        "properties": st.none(),
    },
)
VALUES = st.one_of(
    st.tuples(st.just("int_value"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("long_value"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("double_value"), st.floats()),
    st.tuples(st.just("boolean_value"), st.booleans()),
    st.tuples(st.just("string_value"), st.text()),
    st.tuples(st.just("bytes_value"), st.binary()),
)


@given(st.sampled_from(["", "d", "e"]), st.lists(st.tuples(FIELDS, st.none() | VALUES), max_size=4))
def test_whatever_a_command_holds_is_read_or_refused(device: str, metrics: list[tuple[dict[str, Any], Any]]) -> None:
    payload = Payload()
    for fields, value in metrics:
        payload.metrics.append(Metric(**{**fields, **dict([value] if value else [])}))
    found = orders(device, payload.SerializeToString(), CATALOG)
    for index, name, value in found.writes:
        assert name.startswith(f"{device}." if device else "")
        assert index is None or CATALOG.tags[index].device == device
        assert value is None or isinstance(value, (bool, int, float, str))
        assert not isinstance(value, int) or -(2**63) <= value < 2**64


@given(st.binary(max_size=60), st.integers(0, 60))
def test_damaged_commands_are_read_or_refused(junk: bytes, at: int) -> None:
    whole = Payload(timestamp=1, seq=2)
    whole.metrics.add(name="s", datatype=12, string_value="Größe")
    data = whole.SerializeToString()
    for damaged in (junk, data[:at] + junk, data[:at] + junk[:1] + data[at + 1 :]):
        with contextlib.suppress(ValueError):
            orders("d", damaged, CATALOG)
