"""OPC UA: subscriptions and polls, history after an outage, writes, pinned security. Uses asyncua."""

from __future__ import annotations

from gateway.field.contract import BusPlan, Driver, FieldContext, Source
from gateway.field.opcua.settings import OpcuaConnection


def _open(plan: BusPlan, context: FieldContext) -> Source:
    from gateway.field.opcua.source import OpcuaSource  # noqa: PLC0415  # asyncua costs 30 MB: only where configured

    return OpcuaSource(plan, context)


OPCUA = Driver("opcua", OpcuaConnection, _open, ("endpoint",))
