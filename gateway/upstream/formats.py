"""The formats by name: a conversation each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.upstream.columns import ColumnsPayload
from gateway.upstream.conversation import Context, Conversation
from gateway.upstream.json import JsonPayload
from gateway.upstream.payload import Payload, Properties5
from gateway.upstream.plain import Plain


def conversation(context: Context) -> Conversation:
    """What an upstream says, by its `format:`."""
    return _FORMATS[context.settings.format](context)


def _plain(context: Context) -> Conversation:
    return Plain(context, _payload(context))


def _sparkplug(context: Context) -> Conversation:
    from gateway.upstream.sparkplug.conversation import EdgeNode  # noqa: PLC0415  # protobuf, for those who need it

    return EdgeNode(context)


def _payload(context: Context) -> Payload:
    settings = context.settings
    expiry = settings.message_expiry
    compressed = settings.compress == "zstd"
    properties = Properties5(
        context.identity,
        settings.protocol == "5",
        None if expiry is None else max(1, round(expiry)),
        "application/zstd" if compressed else "",
    )
    if settings.format == "columns":
        return ColumnsPayload(context.identity, settings.topic, properties=properties, select=settings.select)
    return JsonPayload(
        context.identity,
        settings.topic,
        properties=properties,
        select=settings.select,
        time_unit=settings.time_unit,
        compress=compressed,
    )


_FORMATS: Final[Mapping[str, Callable[[Context], Conversation]]] = {
    "json": _plain,
    "columns": _plain,
    "sparkplug": _sparkplug,
}
