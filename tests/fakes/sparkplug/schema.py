"""The whole Sparkplug B payload as the tests' own protobuf classes, templates and data sets included.

Built from a table of field numbers, so that nothing the gateway writes is read with the gateway's own definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

_PACKAGE: Final = "conformance"
_TYPES: Final[Mapping[str, int]] = {
    "double": 1, "float": 2, "uint64": 4, "fixed64": 6, "fixed32": 7, "bool": 8, "string": 9, "bytes": 12, "uint32": 13,
}  # fmt: skip
# message: {field: (number, type, with * where repeated)}
_MESSAGES: Final[Mapping[str, Mapping[str, tuple[int, str]]]] = {
    "DataSet": {
        "num_of_columns": (1, "uint64"), "columns": (2, "string*"), "types": (3, "uint32*"), "rows": (4, "bytes*"),
    },
    "Template": {
        "version": (1, "string"), "metrics": (2, "Metric*"), "parameters": (3, "bytes*"),
        "template_ref": (4, "string"), "is_definition": (5, "bool"),
    },
    "PropertyValue": {
        "type": (1, "uint32"), "is_null": (2, "bool"), "int_value": (3, "uint32"), "long_value": (4, "uint64"),
        "float_value": (5, "float"), "double_value": (6, "double"), "boolean_value": (7, "bool"),
        "string_value": (8, "string"), "propertyset_value": (9, "PropertySet"), "propertysets_value": (10, "bytes"),
    },
    "PropertySet": {"keys": (1, "string*"), "values": (2, "PropertyValue*")},
    "Metric": {
        "name": (1, "string"), "alias": (2, "uint64"), "timestamp": (3, "uint64"), "datatype": (4, "uint32"),
        "is_historical": (5, "bool"), "is_transient": (6, "bool"), "is_null": (7, "bool"), "metadata": (8, "bytes"),
        "properties": (9, "PropertySet"), "int_value": (10, "uint32"), "long_value": (11, "uint64"),
        "float_value": (12, "float"), "double_value": (13, "double"), "boolean_value": (14, "bool"),
        "string_value": (15, "string"), "bytes_value": (16, "bytes"), "dataset_value": (17, "DataSet"),
        "template_value": (18, "Template"), "extension_value": (19, "bytes"),
    },
    "Payload": {
        "timestamp": (1, "uint64"), "metrics": (2, "Metric*"), "seq": (3, "uint64"), "uuid": (4, "string"),
        "body": (5, "bytes"),
    },
}  # fmt: skip
# datatype -> the field its values travel in (6.4.16; UInt32 isn't sent, since implementations disagree)
FIELDS: Final = {
    1: "int_value", 2: "int_value", 3: "int_value", 4: "long_value", 5: "int_value", 6: "int_value", 8: "long_value",
    9: "float_value", 10: "double_value", 11: "boolean_value", 12: "string_value",
}  # fmt: skip
VALUES: Final = tuple(name for name in _MESSAGES["Metric"] if name.endswith("_value"))


def _build() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="conformance.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number, label=3 if kind.endswith("*") else 1)
            plain = kind.removesuffix("*")
            if plain in _TYPES:
                field.type = _TYPES[plain]  # type: ignore[assignment]  # the enum's numbers
            else:
                field.type, field.type_name = 11, f".{_PACKAGE}.{plain}"  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


Payload: Final = _build()


def decode(payload: bytes) -> Any:
    """The Payload in the bytes; AssertionError where they are none."""
    try:
        return Payload.FromString(payload)
    except DecodeError as error:
        raise AssertionError(f"no Sparkplug payload: {error}") from error


def value_of(metric: Any) -> Any:
    """The value a metric carries, None where it is null; AssertionError where it carries none or several."""
    carried = [name for name in VALUES if metric.HasField(name)]
    if metric.is_null:
        assert not carried, f"{metric.name or metric.alias} is null and has a value"
        return None
    assert len(carried) == 1, f"{metric.name or metric.alias} carries {carried or 'no value'}"
    return getattr(metric, carried[0])


def unknown(message: Any) -> list[int]:
    """The numbers of fields, at any depth, that the schema doesn't have, or not with this wire type."""
    found = [field.field_number for field in UnknownFieldSet(message)]  # type: ignore[attr-defined]  # stubs
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else (value,):
                found += unknown(inner)
    return found
