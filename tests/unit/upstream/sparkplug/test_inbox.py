from __future__ import annotations

from typing import Any

import pytest

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
