"""Every protocol the gateway speaks, by the name that stands in `driver:`.

Built in are those below; a package adds its own under the entry-point group `gateway.field`, each entry a `Driver`.
A package that can't be loaded costs only its own driver: a connection that uses it is refused with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import create_model, model_validator

from gateway.errors import LinkError
from gateway.field.contract import BusPlan, ConnectionSettings, Driver, FieldContext, Source
from gateway.field.line import LINE
from gateway.field.modbus import MODBUS_RTU, MODBUS_RTU_TCP, MODBUS_TCP
from gateway.field.opcua import OPCUA

GROUP: Final = "gateway.field"
BUILT_IN: Final = (MODBUS_TCP, MODBUS_RTU, MODBUS_RTU_TCP, OPCUA, LINE)

log = logging.getLogger(__name__)


def drivers() -> Mapping[str, Driver]:
    """All drivers by name. A package may not take a built-in name; of two packages the first by name wins."""
    found = {driver.name: driver for driver in BUILT_IN}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: (each.name, _package(each))):
        if entry.name in found:
            log.warning("driver %s of package %s is ignored: the name is taken", entry.name, _package(entry))
            continue
        found[entry.name] = _load(entry)
    return MappingProxyType(found)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]


def _load(entry: EntryPoint) -> Driver:
    """The driver behind an entry point, or one that refuses every connection and says why."""
    try:
        driver = entry.load()
    except Exception as error:  # noqa: BLE001  # importing a foreign package may raise anything
        return _unusable(entry, f"{type(error).__name__}: {error}")
    if not isinstance(driver, Driver):
        return _unusable(entry, f"{entry.value} is no gateway.field.contract.Driver")
    if driver.name != entry.name:
        return _unusable(entry, f"its driver calls itself {driver.name}")
    return driver


def _unusable(entry: EntryPoint, reason: str) -> Driver:
    text = f"the package {_package(entry)} can't be used: {reason}"
    log.warning("driver %s: %s", entry.name, text)

    def refuse(_cls: type[ConnectionSettings], _value: Any) -> Any:
        raise ValueError(text)

    def no_source(_plan: BusPlan, _context: FieldContext) -> Source:
        raise LinkError(text)

    model = create_model(
        f"Unusable_{entry.name}",
        __base__=ConnectionSettings,
        __validators__={"refuse": model_validator(mode="before")(classmethod(refuse))},  # type: ignore[arg-type, dict-item]  # pydantic's own form
        driver=(Literal[entry.name], ...),  # type: ignore[arg-type]  # a name known only now
    )
    return Driver(entry.name, model, no_source)
